"""What a push brings is examined in batches: whatever is found in an object alone is found among its neighbours."""

import base64
import random
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from sidecar import prepared
from sidecar.dlp.engine import Engine, EngineConfig
from sidecar.dlp.finding import Match
from sidecar.dlp.needles import Known
from sidecar.dlp.patterns.model import all_types
from sidecar.gitgate import decide, limits, scan
from sidecar.gitgate.contents import Piece
from sidecar.secret import Secret
from sidecar.tasks import spawn

PROVISIONED = "Zk3v-correct-horse-battery-91-staple"
NOISE = random.Random(17)
NEIGHBOURS = [
    b"print('hello')\n" * 20,
    b"",
    b"\n",
    base64.b64encode(NOISE.randbytes(500)),
    base64.encodebytes(NOISE.randbytes(500)).rstrip(b"\n"),
    NOISE.randbytes(300).hex().encode(),
    b"{" + b'"a": "\\u0041",' * 30,
    b"%41%42" * 40,
    NOISE.randbytes(500),
    b"tree " + b"a" * 40 + b"\nauthor T <t@example.com> 1700000000 +0000\n\nchange\n",
    b"password = ",
    b"key: |",
    b"example, sample, test, dummy, placeholder",
]


@pytest.fixture(scope="module")
def engine() -> Engine:
    prepared.prepare()
    return Engine.compile(EngineConfig((Known("PROVISIONED", Secret(PROVISIONED)),)))


def blob(number: int, data: bytes) -> Piece:
    return Piece(f"{number:040x}", "blob", len(data), data)


def among(engine: Engine, data: bytes, turn: int) -> bool:
    """Whether it is suspected in the middle of others, another order each time."""
    others = NEIGHBOURS[turn % len(NEIGHBOURS) :] + NEIGHBOURS[: turn % len(NEIGHBOURS)]
    batch = [blob(number, each) for number, each in enumerate([*others, data, *others])]
    return any(text.piece is batch[len(others)] for text in scan._suspicious(engine, batch, scan.Left(engine)))


def test_neighbours_by_themselves_are_clean(engine: Engine) -> None:
    batch = [blob(number, each) for number, each in enumerate(NEIGHBOURS)]
    assert scan._suspicious(engine, batch, scan.Left(engine)) == []


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.e2e)])
def test_what_is_found_alone_is_found_among_others(engine: Engine, step: int) -> None:
    texts = [text.encode() for each in all_types() for text in each.positives][::step]
    missed = [text for turn, text in enumerate(texts) if scan.findings(engine, text) and not among(engine, text, turn)]
    assert missed == []
    assert len(texts) > 500 // step


def test_a_known_secret_in_every_dress(engine: Engine) -> None:
    raw = PROVISIONED.encode()
    dresses = [
        raw, raw[::-1], base64.b64encode(raw), base64.b64encode(b"x" + raw), raw.hex().encode(), base64.b32encode(raw),
        b"".join(b"%%%02x" % byte for byte in raw), base64.b64encode(base64.b64encode(raw)), raw.swapcase(),
        "-".join(PROVISIONED).encode(), raw[3:17], PROVISIONED.encode("utf-16"), b"\\u005a" + raw[1:],
    ]  # fmt: skip
    for dress in dresses:
        for turn in range(0, len(NEIGHBOURS), 3):
            assert among(engine, dress, turn), (dress, turn)


async def test_what_takes_too_long_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of small files, each packed as tightly as can be, take hours."""

    async def everything(quarantine: object) -> AsyncIterator[list[Piece]]:
        del quarantine
        while True:
            yield [blob(1, b"a line\n")]

    async def nothing() -> dict[str, str]:
        return {}

    monkeypatch.setattr(scan, "everything", everything)
    monkeypatch.setattr(limits, "SCAN_SECONDS", 0.01)
    listing = spawn(nothing(), name="listing")
    with pytest.raises(scan.TooMuch, match="too long"):
        await scan._in_contents(cast(Any, None), listing, engine, scan.Tally(), scan.Left(engine))


def test_a_path_pushes_nothing_out_of_its_line() -> None:
    """Neither by its length, nor by lines of its own."""
    path = "a.py:1: test, harmless: ***\nrefs/heads/x: new" + "a" * 600
    line = decide.listing((scan.Problem("aws-access-key-id", "AWS key", "AKIA***", "file", path=path, line=3),))[0]
    assert line.endswith("a:3: aws-access-key-id, AWS key: AKIA***")
    short = decide.listing((scan.Problem("rule", "title", "***", "file", path="a\nb\u202ec", line=3),))[0]
    assert short == "a?b?c:3: rule, title: ***"


def test_a_push_is_told_alike_in_whatever_order_it_is_read() -> None:
    """Else what was approved would be asked about again."""
    values = [Match(b"one"), Match(b"two"), None]
    problems = [
        scan.Problem("rule", "title", "***", "file", path=path, line=line, suppressed=marked, value=value)
        for path in ("a.py", "b.py")
        for line in (1, 2)
        for marked in (True, False)
        for value in values
    ]
    told = set[tuple[str, ...]]()
    for turn in range(20):
        random.Random(turn).shuffle(problems)
        tally = scan.Tally()
        tally.add(problems)
        told.add(tuple(map(str, tally.problems())))
    (lines,) = told
    assert [line for line in lines if "places" in line] == ["a.py:1: rule, title: ***, in 4 places"] * 2
