"""Both searches and the plain algorithm on random plants: what the plain one finds, each of ours finds; ours agree."""

import json
import random

import pytest

from sidecar.dlp.patterns.model import all_types
from tests.bench.dlp import Plain, plain_forms
from tests.sidecar.dlp.dlp_kit import ALNUM, ENCODERS, INJECTED, PLACEMENTS, PROSE, engine_for, make_secrets, scan

SECRETS = tuple(make_secrets(20, seed=31))
TOKENS = [text for each in all_types() for text in each.positives]


def planted(rng: random.Random) -> bytes:
    """A text with something in it, whole, cut, or nothing."""
    secret = rng.choice(SECRETS)
    kind = rng.random()
    if kind < 0.35:
        value = rng.choice(plain_forms(secret))
        start, size = rng.randrange(max(1, len(value) - 12)), rng.randint(8, len(value))
        value = value if rng.random() < 0.5 else value[start : start + size]
    elif kind < 0.7:
        value = {**ENCODERS, **INJECTED}[rng.choice([*ENCODERS, *INJECTED])](secret.encode(), rng).decode()
    elif kind < 0.9:
        value = rng.choice(TOKENS)
    else:
        value = "".join(rng.choices(ALNUM, k=rng.randint(5, 90)))
    if rng.random() < 0.5:
        return PLACEMENTS[rng.choice(list(PLACEMENTS))](value.encode(), rng)
    at = rng.randrange(len(PROSE))
    return json.dumps({"text": (PROSE[:at] * 3).decode() + f"\n{value}\n" + PROSE.decode()}).encode()


def compare(number: int, seed: int) -> None:
    rng = random.Random(seed)
    fast, portable = engine_for(SECRETS, "", "hyperscan"), engine_for(SECRETS, "", "portable")
    plain = Plain(list(SECRETS))
    found = 0
    for _ in range(number):
        data = planted(rng)
        left, right = scan(fast, data), scan(portable, data)
        assert {(f.kind, f.code, f.start, f.end) for f in left.findings} == {
            (f.kind, f.code, f.start, f.end) for f in right.findings
        }, data
        held = plain.secrets(data)
        assert held <= {f.kind for f in left.findings}, (held, data)
        found += bool(held)
    assert number / 10 < found < number


def test_what_the_plain_algorithm_finds_is_found_by_both() -> None:
    compare(1000, 5)


@pytest.mark.e2e
def test_the_same_on_thousands_of_plants() -> None:
    compare(8000, 6)


def test_money_behind_an_equals_sign_and_behind_an_escaped_line() -> None:
    engine = engine_for(SECRETS)
    found = scan(engine, b"https://x.example/?card=4539148803436467&iban=DE89370400440532013000")
    assert {each.kind for each in found.findings} == {"card", "iban"}
    phrase = "legal winner thank year wave sausage worth useful legal winner thank yellow"
    assert {each.kind for each in scan(engine, json.dumps({"a": f"it is\n{phrase}\nthere"}).encode()).findings} == {
        "seed-phrase"
    }
