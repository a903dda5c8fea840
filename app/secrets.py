"""Where real secrets come from: typed in for this launch, the system keyring, or a client's environment.

Never a file: without a keyring, storing is an error that names the ways to get one. The keyring package is imported
when it is first asked, never before.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app import keyrings
from app.errors import CarboyError, NotFound
from sidecar.secret import Secret

SERVICE = "carboy"
ANSWER_SECONDS = 5.0
"""A keyring that waits for a dialog on a screen nobody sees must not hang a launch."""
type Source = Literal["keyring", "environment", "request", "login", "missing"]

STORE_SECONDS = 60.0
"""Storing may wait for the person who unlocks it."""


@dataclass(frozen=True)
class Located:
    """A secret and where it came from."""

    source: Source
    value: Secret | None = None


def locate(
    names: Iterable[str], *, typed: Mapping[str, Secret] | None = None, environment: Mapping[str, Secret] | None = None
) -> dict[str, Located]:
    """Each name with its value, if there is one. Blocks (the keyring is another process): call it off the loop."""
    found: dict[str, Located] = {}
    keyring = _Keyring()
    for name in names:
        if typed and typed.get(name):
            found[name] = Located("request", typed[name])
        elif (value := keyring.get(name)) is not None:
            found[name] = Located("keyring", Secret(value))
        elif environment and environment.get(name):
            found[name] = Located("environment", environment[name])
        else:
            found[name] = Located("missing")
    return found


def store(name: str, value: Secret) -> None:
    """Put a secret into the keyring. Raises CarboyError where there is none: it is never put anywhere else."""
    chosen = keyrings.choose()
    if chosen.backend is None:
        raise CarboyError(f"{chosen.why}: {name} was not stored", keyrings.WAYS, "no_keyring")
    _asked(lambda: chosen.backend.set_password(SERVICE, name, value.reveal()))


def remove(name: str) -> None:
    """Take it out of the keyring. Raises NotFound where it is not there."""
    chosen = keyrings.choose()
    if chosen.backend is None:
        raise CarboyError(f"{chosen.why}: {name} cannot be removed", keyrings.WAYS, "no_keyring")

    def take_out() -> bool:
        if chosen.backend.get_password(SERVICE, name) is None:
            return False
        chosen.backend.delete_password(SERVICE, name)
        return True

    if not _asked(take_out):
        raise NotFound(f"The keyring has no secret {name}", "`carboy secret list` shows them", "no_such_secret")


def _asked[T](work: Callable[[], T]) -> T:
    """Ask the keyring, on a thread of its own: one that hangs is given up. Its own errors are not passed on, since
    their text may repeat the value."""
    done: list[T] = []
    failed: list[str] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:
            failed.append(type(error).__name__)

    worker = threading.Thread(target=run, daemon=True, name="keyring")
    worker.start()
    worker.join(STORE_SECONDS)
    if done:
        return done[0]
    why = f"refused ({failed[0]})" if failed else "did not answer: it may wait for you to unlock it"
    raise CarboyError(f"The keyring {why}", keyrings.WAYS, "no_keyring")


class _Keyring:
    """Look-ups of one pass: a keyring that failed or hung once is not asked again."""

    def __init__(self) -> None:
        self._backend: Any = keyrings.choose().backend

    def get(self, name: str) -> str | None:
        if self._backend is None:
            return None
        answer: list[str | None] = []
        worker = threading.Thread(target=self._ask, args=(name, answer), daemon=True, name="keyring")
        worker.start()
        worker.join(ANSWER_SECONDS)
        if not answer:
            self._backend = None
            return None
        return answer[0]

    def _ask(self, name: str, answer: list[str | None]) -> None:
        try:
            answer.append(self._backend.get_password(SERVICE, name))
        except Exception:  # locked, cancelled, no bus …: as if it had none
            return
