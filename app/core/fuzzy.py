"""Filter-as-you-type: how well a row fits what was typed so far, and which characters matched. Pure."""

from typing import NamedTuple


class Match(NamedTuple):
    """Higher scores first. `at` are the positions to highlight."""

    score: int
    at: tuple[int, ...]


def match(query: str, text: str) -> Match | None:
    """How `query` is found in `text`: as a whole (best, and better the earlier and at a word's start), else its
    characters in order, else None. An empty query fits everything alike."""
    needle, hay = query.lower().strip(), text.lower()
    if not needle:
        return Match(0, ())
    found = hay.find(needle)
    if found >= 0:
        at_word = found == 0 or not hay[found - 1].isalnum()
        return Match(1000 + (500 if at_word else 0) - min(found, 400), tuple(range(found, found + len(needle))))
    at = _in_order(needle.replace(" ", ""), hay)
    return None if at is None else Match(500 - min(at[-1] - at[0], 400), at)


def _in_order(needle: str, hay: str) -> tuple[int, ...] | None:
    at: list[int] = []
    start = 0
    for char in needle:
        found = hay.find(char, start)
        if found < 0:
            return None
        at.append(found)
        start = found + 1
    return tuple(at) or None
