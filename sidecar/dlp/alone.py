"""What of a run of several lines may be an encoding by itself. Pure."""

import re
from collections.abc import Iterator

B64_LINE = re.compile(rb"[A-Za-z0-9+/_-]+")
HEX_LINE = re.compile(rb"(?:0?[xX])?[0-9A-Fa-f]+")
B32_LINE = re.compile(rb"[A-Z2-7]+|[a-z2-7]+")
_LEAST = 18
"""Letters that are decoded by themselves: fewer say less than any credential."""
_LONGEST = 16 * 1024
"""Bytes of a run whose lines are told apart: what is beside a longer one is seldom a word."""


def alone(run: bytes, line: re.Pattern[bytes]) -> Iterator[tuple[int, int]]:
    """Where a run of several lines or words may hold an encoding by itself: a word before or behind it (`echo ...`, a
    prompt) is decoded with it otherwise, and so is the next of a list; what that leaves looks like a part of the
    credential. Lines of one encoding are as long as its first, the last one perhaps shorter."""
    if len(run) > _LONGEST:
        return
    spans = [match.span() for match in line.finditer(run)]
    sizes = [end - start for start, end in spans] + [0]
    begin = 0
    for place, size in enumerate(sizes[:-1]):
        following = sizes[place + 1]
        if following == size:
            continue
        wrapped = place + 1 if 0 < following < size else place
        together = (begin, place), (begin, wrapped)
        for first, last in dict.fromkeys((*together, *((each, each) for each in range(begin, place + 1)))):
            start, end = spans[first][0], spans[last][1]
            if end - start >= _LEAST and (first, last) != (0, len(spans) - 1):
                yield start, end
        begin = place + 1
