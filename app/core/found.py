"""What a search over transcripts finds, as the controller tells its clients. Pure. All texts are from bottles."""

from app.core.model import Snapshot


class Hit(Snapshot):
    """One entry of a conversation. `snippet` is one line of it; `marks` are where in that line the words stand."""

    id: int
    slug: str
    session_id: str
    label: str
    agent: str = ""
    provider: str = ""
    conversation: str = ""
    at: float = 0.0
    kind: str
    tool: str = ""
    snippet: str = ""
    marks: tuple[tuple[int, int], ...] = ()


class Found(Snapshot):
    """The best first. `more` where there are others."""

    text: str
    hits: tuple[Hit, ...] = ()
    more: bool = False


class Said(Snapshot):
    """One entry in whole. `here` is the one that was found."""

    at: float = 0.0
    kind: str
    tool: str = ""
    text: str
    here: bool = False


class Passage(Snapshot):
    """What was said around a hit."""

    hit: Hit
    entries: tuple[Said, ...]
