"""Rate-limit windows as the providers' headers tell them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.meter.loads import tree
from sidecar.meter.usage import Window
from sidecar.meter.windows import duration, moment, windows_from_codex, windows_from_headers

NOW = 1_800_000_000.0


def found(headers: dict[str, str]) -> dict[str, Window]:
    return {window.name: window for window in windows_from_headers(headers, NOW)}


def test_anthropic_subscription_windows() -> None:
    got = found(
        {
            "anthropic-ratelimit-unified-status": "allowed_warning",
            "anthropic-ratelimit-unified-5h-status": "allowed",
            "anthropic-ratelimit-unified-5h-utilization": "0.17",
            "anthropic-ratelimit-unified-5h-reset": "1800003600",
            "anthropic-ratelimit-unified-7d-utilization": "1.02",
            "anthropic-ratelimit-unified-7d-reset": "2027-01-20T00:00:00Z",
            "anthropic-ratelimit-unified-7d_oi-utilization": "0.5",
            "anthropic-ratelimit-unified-representative-claim": "five_hour",
        }
    )
    assert got["5h"] == Window("5h", 0.17, 1_800_003_600.0, "subscription", "allowed")
    assert got["7d"].used_fraction == 1.02
    assert got["7d"].resets_at == 1_800_403_200.0
    assert set(got) == {"5h", "7d", "7d_oi"}


def test_a_refused_window_without_utilisation_is_full() -> None:
    got = found(
        {"anthropic-ratelimit-unified-7d-status": "rejected", "anthropic-ratelimit-unified-7d-reset": "1800000100"}
    )
    assert got["7d"].used_fraction == 1.0


def test_classic_anthropic_and_openai_limits() -> None:
    got = found(
        {
            "anthropic-ratelimit-input-tokens-limit": "400000",
            "anthropic-ratelimit-input-tokens-remaining": "100000",
            "anthropic-ratelimit-input-tokens-reset": "2027-01-15T08:00:30Z",
            "x-ratelimit-limit-requests": "500",
            "x-ratelimit-remaining-requests": "499",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-limit-tokens": "30000",
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "6m0s",
            "x-ratelimit-limit-broken": "-1",
            "x-ratelimit-remaining-broken": "many",
        }
    )
    assert got["input-tokens"] == Window("input-tokens", 0.75, NOW + 30)
    assert got["requests"].used_fraction == pytest.approx(0.002)
    assert got["requests"].resets_at == pytest.approx(NOW + 0.12)
    assert got["tokens"] == Window("tokens", 1.0, NOW + 360)
    assert "broken" not in got


def test_codex_windows_by_length_and_family() -> None:
    got = found(
        {
            "x-codex-primary-used-percent": "42.5",
            "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-after-seconds": "600",
            "x-codex-secondary-used-percent": "13",
            "x-codex-secondary-window-minutes": "10080",
            "x-codex-secondary-reset-at": "1800009999",
            "x-codex-other-model-primary-used-percent": "100",
            "x-codex-other-model-primary-window-minutes": "60",
            "x-codex-unused-primary-used-percent": "0",
            "x-codex-unused-primary-window-minutes": "0",
        }
    )
    assert got["5h"] == Window("5h", 0.425, NOW + 600, "subscription")
    assert got["7d"] == Window("7d", 0.13, 1_800_009_999.0, "subscription")
    assert got["other-model-60min"].used_fraction == 1.0
    assert len(got) == 3


def test_codex_event() -> None:
    primary = {"used_percent": 7, "window_minutes": 300, "reset_after_seconds": 13168, "reset_at": 1_800_013_168}
    event = {"type": "codex.rate_limits", "rate_limits": {"primary": primary, "secondary": None}}
    assert windows_from_codex(event, NOW) == (Window("5h", 0.07, 1_800_013_168.0, "subscription"),)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1), ("6m0s", 360), ("88ms", 0.088), ("1h2m3.5s", 3723.5), ("2d", 172_800), ("17", 17),
        ("", None), ("soon", None), ("-5s", None), ("nan", None), ("1m1ms", 60.001),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float | None) -> None:
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))


def test_moments() -> None:
    assert moment("1800000000") == moment("1800000000000") == moment("2027-01-15T08:00:00+00:00") == NOW
    assert moment("yesterday") is None


names = st.sampled_from(
    [
        "anthropic-ratelimit-unified-5h-utilization", "anthropic-ratelimit-unified-5h-reset",
        "anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset",
        "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens",
        "x-codex-primary-used-percent", "x-codex-primary-window-minutes", "x-codex-primary-reset-at",
    ]
)  # fmt: skip
values = st.text(max_size=20) | st.floats().map(str) | st.integers().map(str) | st.datetimes().map(str)


@settings(deadline=None)
@given(st.dictionaries(names, values))
def test_any_values(headers: dict[str, str]) -> None:
    for window in windows_from_headers(headers, NOW):
        assert window.used_fraction is None or window.used_fraction >= 0
        assert window.resets_at is None or window.resets_at == window.resets_at
    assert windows_from_codex(tree({"rate_limits": {"primary": headers}}), NOW) == ()
