"""What a decoder is, and how one layer is taken off a text by several of them at once. Pure."""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from sidecar.dlp.derived import Allowance, Derived
from sidecar.dlp.matcher import Spec
from sidecar.dlp.rules import windows

REACH = 400
"""Bytes kept on both sides of a place that is decoded: more than a credential's shape is long, bar JWTs and keys."""

Step = Callable[[bytes], bytes]
Ends = Sequence[int] | None
"""Ends of the places where a decoder has work, ascending; None: everywhere."""
Signs = dict[int, list[int] | None]
"""For each decoder with work, by its number, the ends of the places, or None where there are so many that all is."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """`specs` find where it has work. `step` takes a layer off the stretches around its places, character after
    character, or `expand` says what it makes of the text. `harmless`: what the step changes is looked for changed as
    well. `deletes`: what it takes away may hold something, so it goes by itself. `outer`: only for texts near the top,
    or the possibilities would multiply with the depth. `streams`: what a place means depends on all that is before it.
    """

    name: str
    specs: tuple[Spec, ...]
    expand: Callable[[bytes, Ends, Allowance], Iterator[Derived]] | None = None
    step: Step | None = None
    harmless: bool = False
    deletes: bool = False
    outer: bool = False
    streams: bool = False


def spread(text: bytes, ends: Ends) -> Iterator[tuple[int, int]]:
    """The stretches around these places."""
    return iter([(0, len(text))]) if ends is None else windows(ends, REACH, len(text))


def stepped(
    text: bytes, work: Sequence[tuple[Decoder, Ends]], allowance: Allowance, known: int = 0
) -> Iterator[Derived]:
    """One layer taken off by these decoders: by all at once, since each by itself, in every order, would multiply the
    text; only what deletes goes by itself.

    What they do not change stays in context. Where several have work, each by itself follows as far as the allowance
    goes: a secret may hold what one of them takes for its own (`%41`) and be written in another. Stretches that end
    before `known` are left out.
    """
    together = [each for each in work if not each[0].deletes]
    for group in (together, *([each] for each in work if each[0].deletes)):
        yield from _at_once(text, group, allowance, known)


def _at_once(text: bytes, work: Sequence[tuple[Decoder, Ends]], allowance: Allowance, known: int) -> list[Derived]:
    every = None if any(ends is None for _, ends in work) else sorted(end for _, ends in work for end in ends or ())
    alike: dict[tuple[Decoder, ...], list[tuple[int, int]]] = {}
    for start, end in spread(text, every):
        if end >= known:
            here = tuple(decoder for decoder, ends in work if _has_work(decoder, ends, start, end))
            alike.setdefault(here, []).append((start, end))
    found = [part for here, spans in alike.items() for part in _taken_off(text, here, spans, allowance)]
    return sorted(found, key=lambda part: part.start)


def _has_work(decoder: Decoder, ends: Ends, start: int, end: int) -> bool:
    return decoder.step is not None and (ends is None or bisect_left(ends, start) != bisect_right(ends, end))


def _taken_off(
    text: bytes, decoders: Sequence[Decoder], spans: Sequence[tuple[int, int]], allowance: Allowance
) -> Iterator[Derived]:
    """One layer taken off these stretches by these decoders, all stretches at once."""
    pieces = [text[start:end] for start, end in spans]
    now = pieces.copy()
    changed: list[list[tuple[Decoder, Step]]] = [[] for _ in pieces]
    for decoder in decoders:
        if step := decoder.step:
            for place, after in enumerate(_of_each(step, now)):
                if after and after != now[place]:
                    now[place] = after
                    changed[place].append((decoder, step))
    for (start, end), piece, data, steps in zip(spans, pieces, now, changed, strict=True):
        if steps:
            name = "+".join(decoder.name for decoder, _ in steps)
            yield Derived(
                name, start, end, allowance.take(data), in_a_row([(decoder.name, step) for decoder, step in steps])
            )
        own = [(decoder, step) for decoder, step in steps if not decoder.harmless]
        if len(own) > 1:
            alone = [Derived(decoder.name, start, end, step(piece), step) for decoder, step in own]
            if allowance.one_by_one(sum(len(part.data) for part in alone)):
                yield from (part for part in alone if part.data not in (b"", piece, data))


_BETWEEN = bytes(1 + code % 6 for code in os.urandom(16))
"""Stands in no text and is what no step changes, makes or joins to something else."""


def _of_each(step: Step, pieces: Sequence[bytes]) -> list[bytes]:
    """What the step makes of each piece: a call for all of them, where the pieces are told apart afterwards."""
    if len(pieces) > 1:
        *after, rest = step(_BETWEEN.join([*pieces, b""])).split(_BETWEEN)
        if len(after) == len(pieces) and not rest:
            return after
    return [step(piece) for piece in pieces]


def in_a_row(steps: Sequence[tuple[str, Step]]) -> Step:
    """Each step on what the one before made."""
    return lambda data: reduce(lambda text, each: each[1](text), steps, data)
