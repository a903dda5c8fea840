"""Where secrets come from, and that a keyring which is missing, plain, broken or hanging never lets one through."""

from collections.abc import Iterator

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail

from app import keyrings, secrets
from app.errors import CarboyError
from sidecar.secret import Secret


class Memory(KeyringBackend):
    """A keyring as the system's, in memory."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.held[service, username]


class Locked(Memory):
    def get_password(self, service: str, username: str) -> str | None:
        raise RuntimeError("locked")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise RuntimeError(f"cannot store {password}")


@pytest.fixture
def before() -> Iterator[None]:
    was = keyring.get_keyring()
    yield
    keyring.set_keyring(was)


def test_the_order_of_places(before: None) -> None:
    keyring.set_keyring(Memory())
    secrets.store("A", Secret("from-keyring"))
    secrets.store("B", Secret("from-keyring"))
    found = secrets.locate(
        ["A", "B", "C", "D"],
        typed={"A": Secret("typed")},
        environment={"A": Secret("env"), "B": Secret("env"), "C": Secret("env")},
    )
    assert {name: one.source for name, one in found.items()} == {
        "A": "request", "B": "keyring", "C": "environment", "D": "missing",
    }  # fmt: skip
    assert found["A"].value == Secret("typed")
    assert found["D"].value is None
    assert "from-keyring" not in repr(found)
    secrets.remove("B")
    assert secrets.locate(["B"])["B"].source == "missing"


def test_without_a_keyring_nothing_is_stored_anywhere(before: None) -> None:
    keyring.set_keyring(fail.Keyring())
    assert keyrings.choose().name is None
    assert secrets.locate(["A"], environment={"A": Secret("e")})["A"].source == "environment"
    with pytest.raises(CarboyError) as caught:
        secrets.store("A", Secret("value"))
    assert caught.value.code == "no_keyring"
    assert "environment variable" in caught.value.hint


def test_a_keyring_of_plain_text_counts_as_none(before: None) -> None:
    plain = type("PlaintextKeyring", (Memory,), {"__module__": "keyrings.alt.file"})
    keyring.set_keyring(plain())
    with pytest.raises(CarboyError):
        secrets.store("A", Secret("value"))


def test_a_locked_keyring_is_as_none_and_its_error_hides_the_value(before: None) -> None:
    keyring.set_keyring(Locked())
    assert secrets.locate(["A"])["A"].source == "missing"
    with pytest.raises(CarboyError) as caught:
        secrets.store("A", Secret("very-secret-value"))
    assert "very-secret-value" not in caught.value.render()
    assert caught.value.__cause__ is None


def test_a_hanging_keyring_is_given_up(before: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    release = threading.Event()

    class Hanging(Memory):
        asked = 0

        def get_password(self, service: str, username: str) -> str | None:
            Hanging.asked += 1
            release.wait(30)
            return None

    keyring.set_keyring(Hanging())
    monkeypatch.setattr(secrets, "ANSWER_SECONDS", 0.05)
    found = secrets.locate(["A", "B", "C"])
    release.set()
    assert {one.source for one in found.values()} == {"missing"}
    assert Hanging.asked == 1
