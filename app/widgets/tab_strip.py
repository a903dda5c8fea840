"""The panels' tabs, where the window is too small to show them side by side."""

from __future__ import annotations

from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from app.widgets.ink import Part, Pressable, pressable


class TabStrip(Pressable, Widget):
    """`1 terminal  2 egress …`; the chosen one stands out by weight and brackets, not by colour alone."""

    DEFAULT_CSS = """
    TabStrip { height: 1; background: $background; padding: 0 1; }
    """

    class Chosen(Message):
        """The operator clicked a tab."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, names: tuple[str, ...], id: str | None = None) -> None:
        super().__init__(id=id)
        self.names = names
        self.chosen = names[0]
        self.marks: dict[str, str] = {}

    def show(self, chosen: str, marks: dict[str, str]) -> None:
        """Mark the chosen tab; `marks` are small counts beside the names."""
        if (chosen, marks) != (self.chosen, self.marks):
            self.chosen, self.marks = chosen, dict(marks)
            self.refresh()

    def render(self) -> Content:
        tabs: list[Content] = []
        for number, name in enumerate(self.names, 1):
            tone = "bold accent" if name == self.chosen else "soft"
            left, right = ("[", "]") if name == self.chosen else (" ", " ")
            parts: list[Part] = [(left, "faint"), (f"{number} ", "faint"), (name, tone)]
            if self.marks.get(name):
                parts.append((f" {self.marks[name]}", "faint" if self.marks[name].isdigit() else "asks"))
            tabs.append(pressable(f"choose('{name}')", *parts, (right, "faint")))
        return Content(" ").join(tabs)

    def action_choose(self, name: str) -> None:
        self.post_message(self.Chosen(name))
