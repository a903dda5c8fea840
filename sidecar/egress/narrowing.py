"""Ends by itself what was allowed for a while: the controller, which does that in time, may have been killed."""

import asyncio
import time
from collections.abc import Callable

from sidecar.contract import Policy

LOOK_SECONDS = 60.0
"""A machine that slept counts on from where it was: the wall clock is looked at as often."""


def narrowed(policy: Policy) -> Policy:
    """`policy` as it is after its time."""
    assert policy.narrows is not None
    return policy.model_copy(update={"routes": policy.narrows.routes, "narrows": None})


class Narrows:
    """`follow` each policy that comes into force; `put` is given the narrower one once it is time for it."""

    def __init__(self, put: Callable[[Policy], None]) -> None:
        self._put = put
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, policy: Policy) -> None:
        self.close()
        if policy.narrows is not None:
            # by both clocks: the wall's may be put back
            self._look(policy, time.monotonic() + max(0.0, policy.narrows.at - time.time()))

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, policy: Policy, until: float) -> None:
        assert policy.narrows is not None
        left = min(policy.narrows.at - time.time(), until - time.monotonic())
        if left > 0:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(left, LOOK_SECONDS), self._look, policy, until)
        else:
            self._put(narrowed(policy))
