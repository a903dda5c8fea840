"""Which keyrings may hold a secret, and what becomes of their errors."""

from typing import Any

import pytest
from keyring.backend import KeyringBackend
from keyring.backends import chainer, fail, null

from app import keyrings, secrets
from app.errors import CarboyError, NotFound
from sidecar.secret import Secret

VALUE = "sk-test-3f9a1c77d2e84b0c9d5e6f70"


class Good(KeyringBackend):
    """Keeps values in memory: what a system keyring does, as far as its interface goes."""

    priority = 1  # type: ignore[assignment]
    name = "Good"

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.held[service, username]


class Loud(Good):
    """Repeats what it was given when it fails."""

    def set_password(self, service: str, username: str, password: str) -> None:
        raise RuntimeError(f"cannot store {password}")


class PlaintextKeyring(Good):
    pass


class Alternative(Good):
    pass


Alternative.__module__ = "keyrings.alt.file"


def chain(*backends: KeyringBackend) -> chainer.ChainerBackend:
    made = chainer.ChainerBackend()
    type(made).backends = property(lambda _: list(backends))  # type: ignore[assignment,misc]
    return made


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(backend: Any) -> Any:
        monkeypatch.setattr("keyring.get_keyring", lambda: backend)
        return backend

    monkeypatch.setattr(chainer.ChainerBackend, "backends", chainer.ChainerBackend.backends)
    return put


@pytest.mark.parametrize("bad", [fail.Keyring, null.Keyring, PlaintextKeyring, Alternative])
def test_what_keeps_no_secret_is_refused_and_nothing_is_stored(use: Any, bad: Any) -> None:
    backend = use(bad())
    with pytest.raises(CarboyError) as caught:
        secrets.store("TOKEN", Secret(VALUE))
    assert caught.value.code == "no_keyring"
    assert "GNOME Keyring" in caught.value.hint
    assert not getattr(backend, "held", {})
    assert keyrings.choose().name is None


def test_of_several_the_first_good_one_is_used(use: Any) -> None:
    good = Good()
    use(chain(PlaintextKeyring(), good, Alternative()))
    secrets.store("TOKEN", Secret(VALUE))
    assert good.held == {("carboy", "TOKEN"): VALUE}
    assert keyrings.judge(chain()).backend is None
    assert "keeps no secret safe" in keyrings.judge(chain(PlaintextKeyring())).why


def test_stored_found_and_removed(use: Any) -> None:
    use(Good())
    secrets.store("TOKEN", Secret(VALUE))
    found = secrets.locate(["TOKEN", "OTHER"])
    assert found["TOKEN"].source == "keyring"
    assert found["OTHER"].source == "missing"
    assert VALUE not in repr(found)
    secrets.remove("TOKEN")
    with pytest.raises(NotFound):
        secrets.remove("TOKEN")


def test_its_errors_are_not_passed_on(use: Any) -> None:
    use(Loud())
    with pytest.raises(CarboyError) as caught:
        secrets.store("TOKEN", Secret(VALUE))
    assert VALUE not in caught.value.render()
    assert caught.value.__context__ is None


def test_one_that_hangs_is_given_up(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    class Hangs(Good):
        def set_password(self, service: str, username: str, password: str) -> None:
            threading.Event().wait(60)

    use(Hangs())
    monkeypatch.setattr(secrets, "STORE_SECONDS", 0.05)
    with pytest.raises(CarboyError, match="did not answer"):
        secrets.store("TOKEN", Secret(VALUE))


def test_one_that_cannot_be_looked_for_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise RuntimeError(VALUE)

    monkeypatch.setattr("keyring.get_keyring", broken)
    assert VALUE not in keyrings.choose().why
