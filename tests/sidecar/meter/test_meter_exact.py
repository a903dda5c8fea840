"""Totals equal the providers' own counts exactly: every form, encoding and way of splitting, interleaved."""

import random

import pytest

from sidecar.meter.decode import Decoder
from sidecar.meter.learned import Calibration
from sidecar.meter.usage import Usage
from tests.sidecar.meter.meter_forms import FORMS, STREAMS, Maker
from tests.sidecar.meter.meter_kit import (
    ENCODERS,
    Answer,
    meter_of,
    metered,
    parts,
    raw_deflate,
    split,
)

ids = [maker.__name__ for maker in FORMS]


def interleaved(answers: list[Answer], rng: random.Random) -> list[Usage]:
    """All of them at once, a chunk of one after a chunk of another, as connections share a loop."""
    learned = Calibration()
    encodings = [rng.choice(sorted(ENCODERS)) for _ in answers]
    meters = [meter_of(answer, encoding, learned) for answer, encoding in zip(answers, encodings, strict=True)]
    bodies = [ENCODERS[encoding](answer.body) for answer, encoding in zip(answers, encodings, strict=True)]
    waiting = [split(body, rng) for body in bodies]
    usages: dict[int, Usage] = {}
    while len(usages) < len(answers):
        at = rng.randrange(len(answers))
        if waiting[at]:
            meters[at].feed(waiting[at].pop(0))
        elif at not in usages:
            usages[at] = meters[at].finish(complete=True)
    return [usages[at] for at in range(len(answers))]


def test_hundreds_of_answers_on_twenty_connections_add_up_exactly() -> None:
    rng = random.Random(4)
    answers = [maker(rng, 5, 400) for maker in FORMS for _ in range(48)]
    rng.shuffle(answers)
    assert len(answers) > 500
    sums: dict[str, list[int]] = {}
    for start in range(0, len(answers), 20):
        group = answers[start : start + 20]
        for answer, usage in zip(group, interleaved(group, rng), strict=True):
            assert parts(usage) == answer.truth.parts, answer.form
            assert usage.model == answer.truth.model
            assert (usage.estimated, usage.unmetered, usage.complete, usage.billable) == (False, False, True, True)
            totals = sums.setdefault(usage.model, [0, 0])
            totals[0] += usage.total
            totals[1] += sum(answer.truth.parts) - answer.truth.reasoning
    assert all(ours == theirs for ours, theirs in sums.values())


@pytest.mark.parametrize("maker", FORMS, ids=ids)
@pytest.mark.parametrize("encoding", sorted(ENCODERS))
def test_every_byte_boundary_gives_the_same(maker: Maker, encoding: str) -> None:
    answer = maker(random.Random(1), 6, 6)
    body = ENCODERS[encoding](answer.body)
    expected = metered(answer, encoding)
    assert parts(expected) == answer.truth.parts
    assert metered(answer, encoding, [bytes([byte]) for byte in body]) == expected
    for at in range(len(body) + 1):
        assert metered(answer, encoding, [body[:at], body[at:]]) == expected, at


@pytest.mark.parametrize("maker", STREAMS, ids=[maker.__name__ for maker in STREAMS])
def test_a_broken_stream_is_read_alike_however_it_was_split(maker: Maker) -> None:
    rng = random.Random(7)
    answer = maker(rng, 60, 60)
    for cut in range(0, len(answer.body), 97):
        body = answer.body[:cut]
        expected = metered(answer, "", [body], complete=False)
        assert metered(answer, "", split(body, rng), complete=False) == expected


@pytest.mark.parametrize("encoding", sorted(ENCODERS.keys() - {""}))
def test_what_packs_well_is_unpacked_to_its_end(encoding: str) -> None:
    """A table of which a decoder has all of the input long before it has given all of the output."""
    body = b"".join(b'{"id": %d, "name": "x", "value": null},\n' % number for number in range(40_000))
    sent = ENCODERS[encoding](body)
    for step in (len(sent), 16 * 1024):
        decoder = Decoder(encoding)
        pieces = [sent[at : at + step] for at in range(0, len(sent), step)]
        assert b"".join(b"".join(decoder.feed(piece)) for piece in pieces) == body


def test_bare_deflate_is_unpacked_to_its_end() -> None:
    for size in range(65_500, 65_900, 7):
        body = b"a" * size
        assert b"".join(Decoder("deflate").feed(raw_deflate(body))) == body


def test_deflate_without_its_header_and_gzip_in_members_and_two_encodings() -> None:
    answer = FORMS[0](random.Random(2), 50, 50)
    body = answer.body
    members = ENCODERS["gzip"](body[:300]) + ENCODERS["gzip"](body[300:])
    frames = ENCODERS["zstd"](body[:300]) + ENCODERS["zstd"](body[300:])
    twice = ENCODERS["br"](ENCODERS["gzip"](body))
    for encoding, sent in (
        ("deflate", raw_deflate(body)),
        ("gzip", members),
        ("zstd", frames),
        ("gzip, br", twice),
        ("identity", body),
    ):
        usage = metered(answer, encoding, split(sent, random.Random(3)))
        assert parts(usage) == answer.truth.parts, encoding
        assert not usage.flags
