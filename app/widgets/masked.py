"""An input for one secret: its name is known, its value is not shown, kept or logged."""

from __future__ import annotations

from textual.widgets import Input

from app.core.text import printable


class Masked(Input):
    """`secret` is the name that the value goes under."""

    DEFAULT_CSS = """
    Masked, Masked:focus { border: none; height: 1; padding: 0 1; }
    Masked { background: $raised; }
    Masked:focus { background: $cursor; background-tint: $background 0%; }
    """

    def __init__(self, name: str, question: str) -> None:
        super().__init__(password=True, placeholder=printable(question, 100), compact=True)
        self.secret = name
