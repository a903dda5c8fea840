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
    keep: tuple[str, ...] = ()
    """Once one was set: the live bottles that go on with the value they have."""


def go_on(slugs: tuple[str, ...], name: str) -> str:
    """What an operator does about bottles that keep a secret's former value; empty where there are none."""
    if not slugs:
        return ""
    who = f"{slugs[0]} goes" if len(slugs) == 1 else f"{', '.join(slugs)} go"
    return f"{who} on with the value from before: carboy give {slugs[0] if len(slugs) == 1 else 'SLUG'} {name}"
