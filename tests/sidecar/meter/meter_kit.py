"""Answers as the providers send them, written from counts that the tests know: the generator's own truth.

Every form is written out here by hand from the providers' public references, not with the meter's tables.
"""

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import brotli
import zstandard

from sidecar.meter.learned import Calibration
from sidecar.meter.meter import Meter
from sidecar.meter.request import request_facts
from sidecar.meter.usage import Usage

NOW = 1_800_000_000.0


@dataclass(frozen=True)
class Token:
    text: str
    count: int


def samples() -> dict[str, list[Token]]:
    """Texts cut into tokens by o200k_base, so that the truth is known at every cut."""
    raw = json.loads((Path(__file__).parent / "tokens.json").read_text())
    return {name: [Token(p, 1) if isinstance(p, str) else Token(*p) for p in pieces] for name, pieces in raw.items()}


SAMPLES = samples()


@dataclass(frozen=True)
class Truth:
    """What the pretend provider charges."""

    model: str = "model-1"
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0

    @property
    def parts(self) -> tuple[int, ...]:
        return (self.input, self.output, self.cache_read, self.cache_write_5m, self.cache_write_1h, self.reasoning)


def parts(usage: Usage) -> tuple[int, ...]:
    return (
        usage.input,
        usage.output,
        usage.cache_read,
        usage.cache_write_5m,
        usage.cache_write_1h,
        usage.reasoning,
    )


@dataclass(frozen=True)
class Answer:
    """One response: its pieces as the provider writes them, decoded."""

    form: str
    host: str
    path: str
    content_type: str
    pieces: tuple[bytes, ...]
    truth: Truth
    request: dict[str, Any] = field(default_factory=dict)
    made: tuple[int, ...] = ()
    """Output tokens that had been written after each piece."""

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda body: body,
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": lambda body: zstandard.compress(body),
    "deflate": zlib.compress,
}


def flushed(answer: Answer, encoding: str) -> list[bytes]:
    """Each piece compressed and flushed by itself, as a server that streams does."""
    if encoding in ("gzip", "deflate"):
        maker = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
        made = [maker.compress(piece) + maker.flush(zlib.Z_SYNC_FLUSH) for piece in answer.pieces]
        return [*made, maker.flush()]
    if encoding == "zstd":
        writer = zstandard.ZstdCompressor().compressobj()
        made = [writer.compress(piece) + writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for piece in answer.pieces]
        return [*made, writer.flush()]
    packer = brotli.Compressor()
    made = [packer.process(piece) + packer.flush() for piece in answer.pieces]
    return [*made, packer.finish()]


def raw_deflate(body: bytes) -> bytes:
    maker = zlib.compressobj(wbits=-15)
    return maker.compress(body) + maker.flush()


def meter_of(answer: Answer, encoding: str = "", learned: Calibration | None = None, status: int = 200) -> Meter:
    headers = {"Content-Type": answer.content_type}
    if encoding:
        headers["Content-Encoding"] = encoding
    facts = request_facts("POST", answer.path, json.dumps(answer.request).encode())
    made = Meter.for_response(answer.path, status, headers, facts, now=NOW, learned=learned)
    assert made is not None
    return made


def metered(answer: Answer, encoding: str = "", pieces: list[bytes] | None = None, complete: bool = True) -> Usage:
    meter = meter_of(answer, encoding)
    for piece in pieces if pieces is not None else [ENCODERS[encoding](answer.body)]:
        meter.feed(piece)
    return meter.finish(complete)


def split(body: bytes, rng: random.Random) -> list[bytes]:
    """`body` in pieces of random sizes, from single bytes to many kilobytes."""
    pieces: list[bytes] = []
    at = 0
    while at < len(body):
        size = rng.choice((1, 2, 7, 40, 300, 1500, 16_384))
        pieces.append(body[at : at + size])
        at += size
    return pieces


def sse(data: object, event: str = "", end: str = "\n") -> bytes:
    name = f"event: {event}{end}" if event else ""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"{name}data: {text}{end}{end}".encode()


def tokens(rng: random.Random, least: int, most: int) -> list[Token]:
    """A run of real tokens of one text after another."""
    wanted = rng.randint(least, most)
    found: list[Token] = []
    while len(found) < wanted:
        found += SAMPLES[rng.choice(sorted(SAMPLES))]
    return found[:wanted]


def deltas(run: list[Token], rng: random.Random) -> Iterator[Token]:
    """The run as a stream sends it: a few tokens a delta."""
    at = 0
    while at < len(run):
        size = rng.randint(1, 6)
        part = run[at : at + size]
        at += size
        yield Token("".join(token.text for token in part), sum(token.count for token in part))


def draw(rng: random.Random, run: list[Token], *, write: bool = False, reasons: bool = False) -> Truth:
    return Truth(
        model=f"model-{rng.randint(1, 4)}",
        input=rng.randint(1, 90_000),
        output=sum(token.count for token in run),
        cache_read=rng.choice((0, rng.randint(1, 150_000))),
        cache_write_5m=rng.choice((0, rng.randint(1, 9_000))) if write else 0,
        cache_write_1h=rng.choice((0, rng.randint(1, 9_000))) if write else 0,
        reasoning=rng.choice((0, rng.randint(1, 3_000))) if reasons else 0,
    )


def with_reasoning(truth: Truth) -> Truth:
    """Reasoning is paid as output."""
    return replace(truth, output=truth.output + truth.reasoning)


def running(parts_: list[tuple[bytes, int]]) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
    """Pieces, and the output so far after each."""
    total, sums = 0, list[int]()
    for _, made in parts_:
        total += made
        sums.append(total)
    return tuple(piece for piece, _ in parts_), tuple(sums)
