"""A launch that goes on from an earlier session: the same steps from the preflight on, with a request that names it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from app.screens.launch.flow import Flow

if TYPE_CHECKING:
    from app.carboy import CarboyApp
    from app.core.model import LaunchRequest, Preflight


class GoingOn(Flow):
    """`verb`: go on with a session that is over, or start a second bottle from a snapshot."""

    def __init__(self, app: CarboyApp, slug: str, verb: Literal["resume", "fork"]) -> None:
        super().__init__(app)
        self.slug, self.verb = slug, verb

    def request(self, preflight: Preflight | None = None) -> LaunchRequest:
        from app.core.model import LaunchRequest
        from sidecar.secret import Secret

        wanted = preflight.wants_env if preflight else ()
        return LaunchRequest.model_validate(
            {
                self.verb: self.slug,
                "name": preflight.slug if preflight else None,
                "cwd": self.draft.cwd,
                "rows": self.rows,
                "cols": self.cols,
                "env": {name: Secret(os.environ[name]) for name in wanted if name in os.environ},
                "secrets": {name: Secret(value) for name, value in self.typed.items() if value},
                "confirm": tuple(sorted(self.draft.confirmed)),
            }
        )


def start(app: CarboyApp, slug: str, verb: Literal["resume", "fork"]) -> None:
    """Open the preflight: everything else is the former session's."""
    from app.screens.launch.preflight import PreflightStep

    app.push_screen(PreflightStep(GoingOn(app, slug, verb)))
