"""What a decoder is, and how one layer is taken off a text by several of them at once. Pure."""

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


@dataclass(frozen=True, slots=True)
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


def _at_once(text: bytes, work: Sequence[tuple[Decoder, Ends]], allowance: Allowance, known: int) -> Iterator[Derived]:
    every = None if any(ends is None for _, ends in work) else sorted(end for _, ends in work for end in ends or ())
    for start, end in spread(text, every):
        if end <= known:
            continue
        piece = data = text[start:end]
        steps: list[tuple[str, Step]] = []
        alone: list[Derived] = []
        for decoder, ends in work:
            step = decoder.step
            if step is None or (ends is not None and bisect_left(ends, start) == bisect_right(ends, end)):
                continue
            after = step(data)
            if after and after != data:
                if not decoder.harmless:
                    alone.append(Derived(decoder.name, start, end, step(piece) if steps else after, step))
                data = after
                steps.append((decoder.name, step))
        if steps:
            name = "+".join(name for name, _ in steps)
            yield Derived(name, start, end, allowance.take(data), in_a_row(steps))
        if len(alone) > 1 and allowance.one_by_one(sum(len(part.data) for part in alone)):
            yield from (part for part in alone if part.data not in (b"", piece, data))


def in_a_row(steps: Sequence[tuple[str, Step]]) -> Step:
    """Each step on what the one before made."""
    return lambda data: reduce(lambda text, each: each[1](text), steps, data)
