"""Where real secrets come from: typed in for this launch, the system keyring, or a client's environment.

Never a file: without a keyring, storing is an error that names the ways to get one. The keyring package is imported
when it is first asked, never before.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.errors import CarboyError
from sidecar.secret import Secret

SERVICE = "carboy"
ANSWER_SECONDS = 5.0
"""A keyring that waits for a dialog on a screen nobody sees must not hang a launch."""
type Source = Literal["keyring", "environment", "request", "missing"]

NO_KEYRING = (
    "Install and unlock a keyring (GNOME Keyring or KWallet on Linux, Keychain on macOS), or pass the secret in an "
    "environment variable of the same name"
)


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
    backend = _backend()
    if backend is None:
        raise CarboyError("There is no system keyring here to store a secret in", NO_KEYRING, "no_keyring")
    try:
        backend.set_password(SERVICE, name, value.reveal())
    except Exception as error:  # every backend has errors of its own; their text may repeat the value
        raise CarboyError(
            f"The keyring refused the secret ({type(error).__name__})", NO_KEYRING, "no_keyring"
        ) from None


def remove(name: str) -> None:
    backend = _backend()
    try:
        if backend is not None:
            backend.delete_password(SERVICE, name)
    except Exception as error:
        raise CarboyError(
            f"The keyring has no secret {name!r}, or is locked ({type(error).__name__})", "", "not_found"
        ) from None


def keyring_name() -> str | None:
    """Which keyring answers here, for `doctor`; None without one."""
    backend = _backend()
    return None if backend is None else str(getattr(backend, "name", type(backend).__name__))


class _Keyring:
    """Look-ups of one pass: a keyring that failed or hung once is not asked again."""

    def __init__(self) -> None:
        self._backend: Any = _backend()

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


def _backend() -> Any:
    """The system's keyring; None where there is none, or only one that keeps plain text."""
    import keyring
    from keyring.backends import fail, null

    try:
        backend = keyring.get_keyring()
    except Exception:
        return None
    plain = type(backend).__module__.startswith("keyrings.alt")
    return None if plain or isinstance(backend, fail.Keyring | null.Keyring) else backend
