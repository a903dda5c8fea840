"""What the app tells its screens. Messages carry frozen values; a screen draws, and asks the client for more."""

from __future__ import annotations

from typing import Literal

from textual.message import Message

from app.core.journal import Entry

Link = Literal["connecting", "connected", "lost"]


class BoardChanged(Message, bubble=False):
    """What the controller told since the last one, at most ten times a second, one message a screen."""

    def __init__(
        self,
        *,
        bottles: bool,
        entries: tuple[Entry, ...],
        proposals: bool,
        catalogue: bool,
        notices: bool = False,
    ) -> None:
        super().__init__()
        self.bottles = bottles
        self.entries = entries
        self.proposals = proposals
        self.catalogue = catalogue
        self.notices = notices


class BoardReplaced(Message, bubble=False):
    """Everything may be different: the first answer, or the first one after a loss."""


class LinkChanged(Message, bubble=False):
    """The controller answers, or does not. `text` says why, for the banner."""

    def __init__(self, link: Link, text: str = "") -> None:
        super().__init__()
        self.link = link
        self.text = text


class SettingsChanged(Message, bubble=False):
    """Settings were read; keys and theme may differ from the defaults."""
