"""All colours of the TUI, and nothing else: no other file has a colour in it. Each theme gives the same names a value;
the names say what a colour means (`ok`, `refused`, `asks`), so a screen can never mean two things by one colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.theme import Theme

DEFAULT = "carboy"


@dataclass(frozen=True)
class Palette:
    """`ink`, `soft` and `faint` are text in falling weight (contrast on `ground` at least 7, 4.5 and 4.5, but for the
    first two of which WCAG 2.2 asks 4.5); `line` frames what has no focus, `accent` what has it."""

    dark: bool
    ground: str
    panel: str
    raised: str
    ink: str
    soft: str
    faint: str
    line: str
    accent: str
    ok: str
    refused: str
    asks: str
    changed: str
    violet: str
    cursor: str


PALETTES: dict[str, Palette] = {
    "carboy": Palette(
        dark=True,
        ground="#13151d",
        panel="#191c26",
        raised="#20242f",
        ink="#cdd5e5",
        soft="#98a2b8",
        faint="#7d879d",
        line="#2c3243",
        accent="#7aa2f7",
        ok="#9ece6a",
        refused="#f7768e",
        asks="#e0af68",
        changed="#7dcfff",
        violet="#bb9af7",
        cursor="#283148",
    ),
    "carboy-light": Palette(
        dark=False,
        ground="#f6f7fa",
        panel="#eceef4",
        raised="#e2e6ef",
        ink="#222a3a",
        soft="#4a5468",
        faint="#616b80",
        line="#c9cfdd",
        accent="#2457c5",
        ok="#2f6f1b",
        refused="#b3173b",
        asks="#855400",
        changed="#006585",
        violet="#6a3fb5",
        cursor="#d5def3",
    ),
    "carboy-contrast": Palette(
        dark=True,
        ground="#000000",
        panel="#0b0b0b",
        raised="#1a1a1a",
        ink="#ffffff",
        soft="#e0e0e0",
        faint="#c4c4c4",
        line="#8a8a8a",
        accent="#6fc3ff",
        ok="#7dff7d",
        refused="#ff8a8a",
        asks="#ffd75f",
        changed="#8ff0ff",
        violet="#e3b8ff",
        cursor="#003a66",
    ),
}

TITLES = {"carboy": "Dark", "carboy-light": "Light", "carboy-contrast": "High contrast"}


def variables(palette: Palette) -> dict[str, str]:
    """The names that styles use, `$ink` and so on, with this palette's values; Textual's own follow them."""
    agents = palette if palette.dark else PALETTES[DEFAULT]  # agents are told that their terminal is dark, and paint so
    return {
        "terminal-ground": agents.ground,
        "terminal-ink": agents.ink,
        "ground": palette.ground,
        "raised": palette.raised,
        "ink": palette.ink,
        "soft": palette.soft,
        "faint": palette.faint,
        "line": palette.line,
        "ok": palette.ok,
        "refused": palette.refused,
        "asks": palette.asks,
        "changed": palette.changed,
        "failed": palette.refused,
        "quiet": palette.faint,
        "cursor": palette.cursor,
        "bottle-red": palette.refused,
        "bottle-green": palette.ok,
        "bottle-yellow": palette.asks,
        "bottle-blue": palette.accent,
        "bottle-magenta": palette.violet,
        "text-muted": palette.faint,
        "border": palette.accent,
        "border-blurred": palette.line,
        "block-cursor-foreground": palette.ink,
        "block-cursor-background": palette.cursor,
        "block-cursor-text-style": "none",
        "block-cursor-blurred-foreground": palette.ink,
        "block-cursor-blurred-background": palette.raised,
        "block-hover-background": palette.raised,
        "input-cursor-background": palette.accent,
        "input-cursor-foreground": palette.ground,
        "input-selection-background": palette.cursor,
        "scrollbar": palette.line,
        "scrollbar-hover": palette.faint,
        "scrollbar-active": palette.accent,
        "scrollbar-background": palette.ground,
        "scrollbar-background-hover": palette.ground,
        "scrollbar-background-active": palette.ground,
        "scrollbar-corner-color": palette.ground,
    }


def theme(name: str) -> Theme:
    """The Textual theme of that name."""
    from textual.theme import Theme

    palette = PALETTES[name]
    return Theme(
        name=name,
        primary=palette.accent,
        secondary=palette.violet,
        accent=palette.accent,
        warning=palette.asks,
        error=palette.refused,
        success=palette.ok,
        foreground=palette.ink,
        background=palette.ground,
        surface=palette.ground,
        panel=palette.panel,
        dark=palette.dark,
        variables=variables(palette),
    )
