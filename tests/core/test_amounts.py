import pytest

from app.core import amounts


@pytest.mark.parametrize(
    ("text", "value"),
    [("1024", 1024), ("4GiB", 4 * 2**30), ("512M", 512 * 2**20), ("1.5g", 3 * 2**29), ("2 KiB", 2048), ("7B", 7)],
)
def test_sizes(text: str, value: int) -> None:
    assert amounts.size(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("45s", 45), ("90m", 5400), ("1h30m", 5400), ("1h 30m", 5400), ("2d", 172800)]
)
def test_times(text: str, value: int) -> None:
    assert amounts.seconds(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500k", {"tokens": 500_000}),
        ("5M", {"tokens": 5_000_000}),
        ("5_000_000", {"tokens": 5_000_000}),
        ("2.5m", {"tokens": 2_500_000}),
        ("$20", {"usd": 20.0}),
        ("20usd", {"usd": 20.0}),
        ("$0.50", {"usd": 0.5}),
    ],
)
def test_budgets(text: str, value: dict[str, float]) -> None:
    assert amounts.budget(text) == value


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "4XB", "iB", "1e9", "9" * 39 + "t", "9" * 60, "4GiB 2", "٤k"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        amounts.size(text)


@pytest.mark.parametrize("text", ["", "90", "m", "90m x", "1.5h", "0s", "-5m", "9" * 50 + "m"])
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        amounts.seconds(text)


@pytest.mark.parametrize("text", ["", "k", "-5k", "0", "five", "$", "5g", "1e6"])
def test_no_budgets(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        amounts.budget(text)
