"""Colours live in one file, and can be read."""

import re
from pathlib import Path

import pytest
from textual.color import Color

from app.terminal.answers import BACKGROUND
from app.themes import PALETTES
from app.widgets.terminal_pane import TerminalPane
from tests.tui.scripted import ScriptedClient, app
from tests.tui.waiting import ready, text_of, until

ROOT = Path(__file__).parents[2]
LITERAL = re.compile(r"""(#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b|\brgb\(|\bhsl\(|\bansi_(?!default|theme)\w+)""")
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


@pytest.mark.parametrize("name", PALETTES)
async def test_an_agent_s_terminal_is_dark_as_the_agent_is_told(name: str) -> None:
    async with app().run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        pilot.app.theme = name
        pane = pilot.app.screen.query_one(TerminalPane)
        await pane.feed(b"\x1b[2J\x1b[H\x1b[37mwhite\x1b[97mbright\x1b[38;2;229;229;229mtrue\x1b[mplain")
        await until(pilot, lambda: "plain" in pane.render_line(0).text, "drawn")
        drawn = pane.render_line(0)
        for line_filter in pilot.app.get_line_filters():
            drawn = drawn.apply_filter(line_filter, pane.background_colors[1])
        styles = [segment.style for segment in drawn if segment.text.strip() and segment.style]
        assert len(styles) == 4
        for style in styles:
            assert style.color
            assert style.bgcolor
            ground = style.bgcolor.get_truecolor().hex
            assert contrast(style.color.get_truecolor().hex, ground) >= 4.5
            assert contrast(ground, Color(*BACKGROUND).hex) < 1.2


def test_no_colour_outside_the_themes() -> None:
    files = [*(ROOT / "app").rglob("*.tcss"), ROOT / "app/carboy.py"]
    files += [*(ROOT / "app/screens").rglob("*.py"), *(ROOT / "app/widgets").rglob("*.py")]
    for path in files:
        text = re.sub(r"^\s*#.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert not LITERAL.search(text), path
        assert not NAMED.search(text), path


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_the_row_under_the_cursor_is_told_without_colour(size: tuple[int, int]) -> None:
    """In 16 colours the light theme's cursor is its ground."""
    async with app().run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("3")
        for key, bottle in (("home", "impl-1"), ("end", "research-2")):
            await pilot.press(key)
            await until(pilot, lambda bottle=bottle: f" {bottle}" in barred(text_of(pilot)), bottle)
            assert len(barred(text_of(pilot)).splitlines()) == 2


def barred(text: str) -> str:
    return "\n".join(line[:30] for line in text.splitlines() if "▌" in line[:3])


async def test_a_theme_that_is_not_ours_is_told_and_the_app_stays() -> None:
    client = ScriptedClient()
    client.settings_now = tuple(
        item.model_copy(update={"value": "dracula"}) if item.path == "theme" else item for item in client.settings_now
    )
    async with app(client).run_test(size=(160, 48)) as pilot:
        await ready(pilot)
        await until(pilot, lambda: [item for item in pilot.app._notifications if "no theme" in item.message], "told")
        assert pilot.app.theme == "carboy"
