"""What may put a machine to sleep, and what ends processes at logout."""

import pytest

from app import night


@pytest.mark.parametrize(
    ("states", "battery", "logind", "expected"),
    [
        ("", True, {}, 0),
        ("freeze mem disk", False, {}, 0),
        ("freeze mem", True, {}, 1),
        ("mem", True, {"HandleLidSwitch": "ignore"}, 0),
        ("mem", False, {"IdleAction": "suspend"}, 1),
        ("mem", True, {"IdleAction": "suspend"}, 2),
        ("mem", False, {"IdleAction": "ignore"}, 0),
    ],
)
def test_reasons_to_sleep(states: str, battery: bool, logind: dict[str, str], expected: int) -> None:
    assert len(night.asleep_reasons(states, battery, logind)) == expected


def test_this_machine_is_looked_at_without_an_error() -> None:
    for check in (night.sleep_check(), night.logout_check()):
        assert check.text
        assert check.ok or check.fix


def test_a_preflight_is_told_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(night, "_states", lambda: "mem")
    monkeypatch.setattr(night, "_battery", lambda: True)
    monkeypatch.setattr(night, "_logind", dict)
    assert any("lid" in text for text in night.warnings())
