"""Known secrets: every encoding of egress.md, two of them nested, in every placement: all of them are found."""

import base64
import codecs
import json
import random
import zlib
from collections.abc import Callable

import pytest

from tests.sidecar.dlp.dlp_kit import ENCODERS, INJECTED, PLACEMENTS, engine_for, make_secret, make_secrets, names, scan

SECRETS = tuple(make_secrets(20))
CASES_LEAST = 10_000


def missed(index: int, data: bytes, label: str) -> str | None:
    result = scan(engine_for(SECRETS), data)
    assert all(SECRETS[index] not in repr(finding) for finding in result.findings)
    return None if f"SECRET_{index}" in names(result) and result.blocked else label


def single_cases() -> list[tuple[int, bytes, str]]:
    """Every secret in every encoding, and with every separator injected, everywhere."""
    rng = random.Random(11)
    cases: list[tuple[int, bytes, str]] = []
    for index, secret in enumerate(SECRETS):
        for name, encode in {**ENCODERS, **INJECTED}.items():
            for place, put in PLACEMENTS.items():
                cases.append((index, put(encode(secret.encode(), rng), rng), f"{index} {name} in {place}"))
    return cases


def nested_cases(number: int) -> list[tuple[int, bytes, str]]:
    """Pairs of encodings, every pair with several secrets and placements."""
    rng = random.Random(12)
    pairs = [(outer, inner) for outer in ENCODERS for inner in ENCODERS if "raw" not in (outer, inner)]
    cases: list[tuple[int, bytes, str]] = []
    for at in range(number):
        outer, inner = pairs[at % len(pairs)]
        index = rng.randrange(len(SECRETS))
        place = rng.choice(list(PLACEMENTS))
        value = ENCODERS[outer](ENCODERS[inner](SECRETS[index].encode(), rng), rng)
        cases.append((index, PLACEMENTS[place](value, rng), f"{index} {outer} of {inner} in {place}"))
    return cases


def test_the_matrix_is_as_large_as_promised() -> None:
    assert len(single_cases()) + 6000 >= CASES_LEAST


def test_every_encoding_in_every_place_is_found() -> None:
    cases = single_cases()
    failures = [label for index, data, label in cases if missed(index, data, label)]
    assert not failures, f"{len(failures)} of {len(cases)}: {failures[:30]}"


def test_two_encodings_nested_are_found() -> None:
    cases = nested_cases(6000)
    failures = [label for index, data, label in cases if missed(index, data, label)]
    assert not failures, f"{len(failures)} of {len(cases)}: {failures[:30]}"


@pytest.mark.parametrize("size", [12, 13, 16, 20, 24])
def test_short_secrets_in_every_encoding(size: int) -> None:
    rng = random.Random(size)
    secrets = tuple(make_secret(rng, 0, size) for _ in range(6))
    engine = engine_for(secrets)
    failures: list[str] = []
    for index, secret in enumerate(secrets):
        for name, encode in {**ENCODERS, **INJECTED}.items():
            for place, put in PLACEMENTS.items():
                if f"SECRET_{index}" not in names(scan(engine, put(encode(secret.encode(), rng), rng))):
                    failures.append(f"{name} in {place}")
    assert not failures, failures[:30]


@pytest.mark.parametrize("size", [12, 13, 15, 17, 19])
def test_short_secrets_in_two_encodings_are_found(size: int) -> None:
    """Where all of it is encoded, and nothing else before it (docs/dlp.md)."""
    kinds = [name for name in ENCODERS if " at " not in name and "some" not in name]
    rng = random.Random(size)
    secrets = tuple(make_secret(rng, 0, size) for _ in range(3))
    engine = engine_for(secrets)
    failures = [
        f"{outer} of {inner}"
        for index, secret in enumerate(secrets)
        for outer in kinds
        for inner in kinds
        if f"SECRET_{index}"
        not in names(scan(engine, PLACEMENTS["json"](ENCODERS[outer](ENCODERS[inner](secret.encode(), rng), rng), rng)))
    ]
    assert not failures, failures[:30]


def test_any_twelve_letters_and_digits_are_found() -> None:
    rng = random.Random(3)
    secret = make_secret(rng, 0, 60)
    engine = engine_for((secret,))
    for at in range(len(secret) - 12):
        assert names(scan(engine, b"see " + secret[at : at + 12].encode() + b".")) == {"SECRET_0"}, at
    assert not scan(engine, b"see " + secret[5:16].encode() + b".").findings


def test_three_pieces_with_text_between_are_found_and_two_are_not() -> None:
    secret = make_secret(random.Random(4), 0, 60)
    engine = engine_for((secret,))
    pieces = [secret[at : at + 7].encode() for at in (0, 20, 45)]
    found = scan(engine, b" and then some other words ".join(pieces))
    assert {finding.code for finding in found.findings} == {"known_secret_fragments"}
    assert not scan(engine, b" and ".join(pieces[:2])).findings
    assert not scan(engine, b" ".join([pieces[0]] * 9)).findings  # distinct pieces count


MORE: dict[str, Callable[[bytes], str]] = {
    "octal escapes of base64 in JSON": lambda raw: json.dumps({"a": _octal(base64.b64encode(raw))}),
    "octal escapes of hex in JSON": lambda raw: json.dumps({"a": _octal(raw.hex().encode())}),
    "escapes in braces, reversed": lambda raw: _braced(raw)[::-1],
    "escapes in braces, case swapped": lambda raw: _braced(raw).swapcase(),
    "escapes in braces, in rot13": lambda raw: codecs.encode(_braced(raw), "rot13"),
    "zlib of base64 as a part of a path": lambda raw: (
        f"/a/{base64.b64encode(zlib.compress(base64.b64encode(raw))).decode()}"
    ),
    "zlib of hex behind a dash": lambda raw: f"a-{base64.b64encode(zlib.compress(raw.hex().encode())).decode()}",
}


def _octal(data: bytes) -> str:
    return "".join(f"\\{byte:03o}" for byte in data)


def _braced(data: bytes) -> str:
    return "".join(f"\\u{{{byte:x}}}" for byte in data)


@pytest.mark.parametrize("name", MORE)
def test_more_ways_that_a_random_search_came_upon(name: str) -> None:
    rng = random.Random(name)
    secret = make_secret(rng, 0, 36)
    assert names(scan(engine_for((secret,)), MORE[name](secret.encode()).encode())) == {"SECRET_0"}
