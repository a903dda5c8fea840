"""What each line of a shown difference is: a change, or a head of git's own. Pure.

A line of a file may look like a head (`-- a` that is taken away reads `--- a`), so the counts that each part states are
followed, not the looks. Lines have their sign in front; texts beside the difference begin with a space.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

type Kind = Literal["added", "removed", "part", "file", "head", "same"]

_PART = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_HEADS = (" index ", " new file ", " deleted file ", " old mode ", " new mode ", " similarity index ", "--- ", "+++ ")
_SIGNS: dict[str, Kind] = {"+": "added", "-": "removed", "@": "part"}


def kinds(lines: Iterable[str]) -> Iterator[tuple[Kind, str]]:
    """Each line with its kind."""
    old = new = 0
    heads = False
    for line in lines:
        if old > 0 or new > 0:
            kind = _SIGNS.get(line[:1], "same") if line[:1] in ("+", "-") else "same"
            if not line.startswith("\\"):
                old -= kind != "added"
                new -= kind != "removed"
            yield kind, line
        elif (part := _PART.match(line)) is not None:
            old, new = (int(count) if count else 1 for count in part.groups())
            heads = False
            yield "part", line
        elif line.startswith(" diff --git "):
            heads = True
            yield "file", line
        elif heads and line.startswith(_HEADS):
            yield "head", line
        else:
            yield _SIGNS.get(line[:1], "same"), line
