"""Which system keyring is good enough to keep a secret: judged here, once, for launches, `secret` and the doctor. The
keyring package is imported when it is first asked. Nothing here reads or writes a value."""

from dataclasses import dataclass
from typing import Any

WAYS = (
    "Install and unlock a keyring (GNOME Keyring or KWallet on Linux, Keychain on macOS), or give the secret to one "
    "launch: in an environment variable of the same name, or by `carboy start --secret-fd`"
)
_PLAIN = ("keyrings.alt", "sagecipher", "keyrings.cryptfile")
"""Packages of backends that keep values in plain text, or behind a key that lies beside them or is asked for on a
terminal that a controller does not have."""


@dataclass(frozen=True)
class Chosen:
    """`backend` is None where none will do; `why` says it then."""

    backend: Any = None
    why: str = "There is no system keyring here"

    @property
    def name(self) -> str | None:
        if self.backend is None:
            return None
        return str(getattr(self.backend, "name", type(self.backend).__name__))


def choose() -> Chosen:
    """The keyring of this system, or why there is none that may hold a secret."""
    import keyring

    try:
        return judge(keyring.get_keyring())
    except Exception as error:  # a backend that fails while it is looked for is as good as none
        return Chosen(why=f"The system keyring does not answer ({type(error).__name__})")


def judge(backend: Any) -> Chosen:
    """The same of one backend. One that asks several others in turn is judged by those: the first good one is used."""
    from keyring.backends import chainer, fail, null

    if isinstance(backend, chainer.ChainerBackend):
        judged = [judge(item) for item in backend.backends]
        good = next((item for item in judged if item.backend is not None), None)
        return good or (judged[0] if judged else Chosen())
    if isinstance(backend, fail.Keyring | null.Keyring):
        return Chosen()
    module, name = type(backend).__module__, type(backend).__name__
    if module.startswith(_PLAIN) or "plaintext" in name.lower():
        return Chosen(why=f"The keyring here is {module}.{name}, which keeps no secret safe")
    return Chosen(backend, "")
