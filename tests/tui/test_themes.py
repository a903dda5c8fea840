"""Colours live in one file, and can be read."""

import re
from pathlib import Path

import pytest
from textual.color import Color

from app.themes import PALETTES

ROOT = Path(__file__).parents[2]
LITERAL = re.compile(r"""(#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b|\brgb\(|\bhsl\(|\bansi_(?!default)\w+)""")
NAMED = re.compile(r"\b(color|background)\s*:\s*(red|green|blue|yellow|white|black|magenta|cyan|orange|grey|gray)\b")


def luminance(color: Color) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [value / 255 for value in (color.r, color.g, color.b)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    low, high = sorted((luminance(Color.parse(one)), luminance(Color.parse(two))))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", PALETTES)
@pytest.mark.parametrize("ground", ["ground", "panel"])
def test_text_can_be_read(name: str, ground: str) -> None:
    palette = PALETTES[name]
    back = getattr(palette, ground)
    assert contrast(palette.ink, back) >= 7
    for text in ("soft", "faint", "accent", "ok", "refused", "asks", "changed", "violet"):
        assert contrast(getattr(palette, text), back) >= 4.5, f"{text} on {ground}"
    assert contrast(palette.ink, palette.cursor) >= 4.5


def test_no_colour_outside_the_themes() -> None:
    files = [*(ROOT / "app").rglob("*.tcss"), ROOT / "app/carboy.py"]
    files += [*(ROOT / "app/screens").rglob("*.py"), *(ROOT / "app/widgets").rglob("*.py")]
    for path in files:
        text = re.sub(r"^\s*#.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert not LITERAL.search(text), path
        assert not NAMED.search(text), path
