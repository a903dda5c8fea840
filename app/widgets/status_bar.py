"""The line at the top: what carboy watches, what waits for the operator, whether the sidecars are well. Drawn from a
frozen value; it asks nobody anything."""

from __future__ import annotations

from typing import NamedTuple

from textual.content import Content
from textual.widget import Widget

from app.core.journal import Verdict
from app.core.text import printable
from app.core.trail import bar, tone
from app.widgets.ink import Pressable, ink, pressable, spread


class Overview(NamedTuple):
    """All that the line says. `link` is empty while the controller answers."""

    bottles: int = 0
    working: int = 0
    approvals: int = 0
    requests: str = ""
    refused: int = 0
    unread: int = 0
    tokens: str = ""
    cost: str = ""
    window: tuple[str, float] | None = None
    sidecars: Verdict = Verdict("○", "none", "quiet")
    link: str = ""


class StatusBar(Pressable, Widget):
    """One line; parts that fit are shown, the most important ones last to go."""

    DEFAULT_CSS = """
    StatusBar { height: 1; background: $panel; color: $soft; padding: 0 1; dock: top; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.overview = Overview()

    def show(self, overview: Overview) -> None:
        """Draw another value; nothing happens where it is the same."""
        if overview != self.overview:
            self.overview = overview
            self.refresh()

    def render(self) -> Content:
        roomy, tight = self._line(tight=False), self._line(tight=True)
        return roomy if not self.overview.tokens or self.overview.tokens in roomy.plain else tight

    def _line(self, *, tight: bool) -> Content:
        """`tight`: said in fewer words, so that what was used has a place in a narrow window."""
        view, width = self.overview, self.size.width
        brand = ink(("◖ carboy", "bold accent"))
        noun = "bottle" if view.bottles == 1 else "bottles"
        working = f" · {view.working} at work" if view.working and not tight else ""
        bottles = ink("   ", (f"{view.bottles} {noun}", "ink"), (working, "faint"))
        approvals = pressable("screen.approvals", *_approvals(view.approvals))
        traffic = ink("   ", (view.requests, "soft"), (f" · {view.refused} refused", "refused") if view.refused else "")
        glyph, word, tone = view.sidecars
        right = ink(("" if tight else "sidecars ", "faint"), (f"{glyph} {word}", tone))
        if view.link:
            right = ink((f"▲ {view.link}", "bold asks"))
        left = brand
        unread = pressable("app.notices", (f"● {view.unread} unread", "accent")) if view.unread else ink()
        for part in (
            bottles,
            ink("   ") + approvals,
            ink("   ", (view.tokens, "ink"), (f" · {view.cost}", "faint")) if view.tokens else ink(),
            ink("   ") + unread if view.unread else ink(),
            _window(*view.window) if view.window else ink(),
            traffic if view.requests else ink(),
        ):
            if left.cell_length + part.cell_length + right.cell_length + 2 <= width:
                left = left + part
        return spread(left, right, width)


def _window(name: str, used: float) -> Content:
    full, empty = bar(used, 8)
    hue = tone(int(used * 100))
    return ink((f"   {printable(name, 10)} window ", "faint"), (full, hue), (empty, "line"), (f" {used:.0%}", hue))


def _approvals(waiting: int) -> tuple[tuple[str, str], ...]:
    if not waiting:
        return (("⚑ nothing waits", "faint"),)
    return ((f"⚑ {waiting} {'approval' if waiting == 1 else 'approvals'}", "bold asks"),)
