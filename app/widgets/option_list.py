"""Textual's option list without its frame and colours, so that lists look alike everywhere."""

from __future__ import annotations

from textual.widgets import OptionList


class Options(OptionList):
    """A quiet list: no border, the row under the cursor on the theme's cursor colour."""

    DEFAULT_CSS = """
    Options, Options:focus { border: none; background: $background; background-tint: $background 0%; padding: 0; }
    Options { scrollbar-size-vertical: 1; max-height: 100%; }
    Options > .option-list--option { padding: 0 1; }
    Options > .option-list--option-highlighted { background: $raised; color: $ink; text-style: none; }
    Options:focus > .option-list--option-highlighted { background: $cursor; color: $ink; text-style: none; }
    Options > .option-list--option-hover { background: $raised; }
    Options > .option-list--option-disabled { color: $faint; }
    Options > .option-list--separator { color: $line; }
    """
