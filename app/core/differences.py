"""Two texts as a unified diff, in bounded time: the search for common lines takes cubic time over lines that a hostile
agent chose for it. Where it takes too long the rest is shown as taken out and put in. Pure."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

STEPS = 5_000_000
"""Of the search: about a second. A file of 20,000 lines in which a hundred changed takes a fifth of it."""
_CONTEXT = 3


class _Bounded(difflib.SequenceMatcher[str]):
    """Finds nothing in common any more once it is out of steps."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, old, new)
        places: dict[str, list[int]] = self.b2j  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        self._costs = [0, *accumulate(1 + len(places.get(line, ())) for line in old)]
        self._left = STEPS

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        end = len(self._costs) - 1 if ahi is None else ahi
        self._left -= self._costs[end] - self._costs[alo]
        if self._left < 0:
            return difflib.Match(alo, blo, 0)
        return super().find_longest_match(alo, ahi, blo, bhi)


def unified(old: Sequence[str], new: Sequence[str], path: str) -> Iterator[str]:
    """As `diff -u`: nothing where they are the same."""
    for number, group in enumerate(_Bounded(old, new).get_grouped_opcodes(_CONTEXT)):
        if number == 0:
            yield f"--- a/{path}"
            yield f"+++ b/{path}"
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        yield from _marked(old, new, group)


def whole(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """All lines, also those that are the same."""
    return _marked(old, new, _Bounded(old, new).get_opcodes())


def _marked(old: Sequence[str], new: Sequence[str], steps: Iterable[tuple[str, int, int, int, int]]) -> Iterator[str]:
    for tag, old_from, old_to, new_from, new_to in steps:
        if tag == "equal":
            yield from (" " + line for line in old[old_from:old_to])
        else:
            yield from ("-" + line for line in old[old_from:old_to])
            yield from ("+" + line for line in new[new_from:new_to])


def _range(start: int, stop: int) -> str:
    """`first,count`, counted from 1; an empty one names the line before it."""
    length = stop - start
    return f"{start + 1}" if length == 1 else f"{start + bool(length)},{length}"
