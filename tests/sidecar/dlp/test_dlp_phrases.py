"""Wallets' seed phrases in and beside texts that are full of small words."""

import json
import random

import pytest

from sidecar.dlp import money
from sidecar.dlp.matcher import Backend
from tests.sidecar.dlp.dlp_kit import engine_for, names, scan

PHRASE = "legal winner thank year wave sausage worth useful legal winner thank yellow"
CROWDS = {
    "a minified script": "null," * 3000,
    "language codes": "brv hre irr kdt ktv kuf mkh mmj mun ncq ngt nyl " * 300,
    "a list of words": "shelley kristy mamie lula lola verna beulah antoinette " * 1500,
    "the list itself": "\n".join(sorted(word.decode() for word in money.seed_words())) + "\n\n",
    "lines": "lorem\nipsum\ndolor\namet\n" * 6000,
}
BACKENDS: tuple[Backend, ...] = ("hyperscan", "portable")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("crowd", CROWDS)
def test_lists_of_words_are_examined_to_their_end(crowd: str, backend: Backend) -> None:
    """Each twelve of them in a row are shaped like a phrase: the text was refused for having too many."""
    engine = engine_for((), "", backend)
    for text in (CROWDS[crowd], json.dumps({"a": CROWDS[crowd]})):
        assert not scan(engine, text.encode()).findings
    hidden = CROWDS[crowd][: len(CROWDS[crowd]) // 2] + " Xx 10000000000 "  # no word of the list beside a phrase
    for text in (f"{hidden} {PHRASE} {hidden}", f"{PHRASE} {hidden}", json.dumps([hidden + "\n" + PHRASE])):
        assert names(scan(engine, text.encode())) == {"seed-phrase"}, text[:80]


def _words_without_a_phrase(rng: random.Random, count: int) -> str:
    listed = sorted(word.decode() for word in money.seed_words())
    found: list[str] = []
    while len(found) < count:
        longer = [*found, rng.choice(listed)]
        if not any(money.seed_phrase(longer[-size:]) for size in (12, 15, 18, 21, 24) if len(longer) >= size):
            found = longer
    return " ".join(found)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_phrase_in_a_long_row_of_the_lists_words_is_found(backend: Backend) -> None:
    """Wherever it stands in the row, and what would take too many checksums is refused."""
    engine = engine_for((), "", backend)
    row = _words_without_a_phrase(random.Random(3), 300)
    for at in (0, 111, 121, 127, 128, 276, 300):
        words = row.split()
        text = " ".join([*words[:at], PHRASE, *words[at:]])
        assert names(scan(engine, text.encode())) == {"seed-phrase"}, at  # it, or one that chance made with it
    assert not scan(engine, row.encode()).findings
    blocks = " Xx. ".join(_words_without_a_phrase(random.Random(each), 40) for each in range(400))
    assert "limits" in names(scan(engine, blocks.encode()))
