"""Secrets as every face shows them: names and times, never a value. Pure."""

from app.core.model import Snapshot


class SecretView(Snapshot):
    """A secret that was put into the keyring by carboy."""

    name: str
    set_at: float
    used_at: float | None = None
    """When a launch used it last."""


class VaultView(Snapshot):
    """`keyring` is the name of the one that answers here; without one, `hint` says how to get one."""

    keyring: str = ""
    hint: str = ""
    secrets: tuple[SecretView, ...] = ()
