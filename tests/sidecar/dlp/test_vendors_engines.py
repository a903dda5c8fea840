"""All expressions in the engines that run them, and all types over text that holds no credential."""

import base64
import hashlib
import sysconfig
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import re2

from sidecar.dlp.matcher import backend
from sidecar.dlp.patterns.model import all_types
from sidecar.dlp.patterns.vendors.listing import markdown
from sidecar.dlp.rules import Rule, credential_rules, windows

pytestmark = pytest.mark.xdist_group("vendors")  # compiling all of them alone takes nine seconds
ROOT = Path(__file__).parents[3]
PACKAGES = Path(sysconfig.get_path("purelib"))
PER_MEGABYTE = 0.1
"""Findings in benign megabytes that are too many; seen: 0.06 in 110 MB of sources and packages, each of them a test
suite's own key or a documentation's example."""
AT_MOST = 150_000_000


@pytest.fixture(scope="module")
def search() -> Any:
    return backend().expressions([rule.spec for rule in credential_rules()])


def findings(search: Any, text: bytes) -> Counter[str]:
    """Types found in `text`, by the engine's own search and decision."""
    hits = search.scan(text, 1_000_000)
    ends: dict[int, list[int]] = {}
    for index, end in hits.pairs:
        ends.setdefault(index, []).append(end)
    rules = credential_rules()
    return Counter(rules[index].kind for index, places in ends.items() for _ in found(rules[index], text, places))


def found(rule: Rule, text: bytes, ends: list[int]) -> Iterator[tuple[int, int, bool]]:
    for low, high in windows(sorted(set(ends)), rule.width, len(text)):
        yield from rule.find(text, low, high)


def test_every_expression_compiles_in_re2() -> None:
    for each in all_types():
        re2.compile(each.regex)


@pytest.mark.timeout(300)
def test_every_expression_compiles_in_hyperscan() -> None:
    hyperscan = pytest.importorskip("hyperscan", reason="hyperscan is not installed")
    for each in all_types():
        caseless = each.regex.startswith("(?i)")
        flags = hyperscan.HS_FLAG_DOTALL | (hyperscan.HS_FLAG_CASELESS if caseless else 0)
        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        database.compile(expressions=[each.regex.removeprefix("(?i)").encode()], ids=[0], elements=1, flags=[flags])


def test_the_engine_finds_every_positive_and_no_negative(search: Any) -> None:
    wrong: list[tuple[str, str]] = []
    for each in all_types():
        wrong += [(each.id, text) for text in each.positives if not findings(search, text.encode())[each.id]]
        wrong += [(each.id, text) for text in each.negatives if findings(search, text.encode())[each.id]]
    assert wrong == []


def test_the_engine_takes_documented_values_for_examples() -> None:
    rules = {rule.kind: rule for rule in credential_rules()}
    for each in all_types():
        for value in each.documented:
            text = f" {value} ".encode()
            assert [example for _, _, example in rules[each.id].find(text, 0, len(text))] == [True], (each.id, value)


def benign() -> dict[str, bytes]:
    """Text of the kinds that agents send most, made here: hashes, identifiers, images, logs, identifiers of code."""

    def digest(place: int) -> bytes:
        return hashlib.sha512(b"%d" % place).digest()

    numbers = range(20_000)
    return {
        "image": base64.b64encode(hashlib.shake_256(b"image").digest(3_000_000)),
        "black image": base64.b64encode(bytes(600_000)),
        "integrity": "\n".join(
            f'"integrity": "sha512-{base64.b64encode(digest(i)).decode()}",' for i in numbers
        ).encode(),
        "sha256": "\n".join(f"{digest(i)[:32].hex()}  dist/file_{i}.whl" for i in numbers).encode(),
        "git log": "\n".join(
            f"commit {digest(i)[:20].hex()}\nparent {digest(i)[20:40].hex()}" for i in numbers
        ).encode(),
        "md5": "\n".join(f'ETag: "{digest(i)[:16].hex()}"' for i in numbers).encode(),
        "uuid": "\n".join(
            f"request_id={uuid.UUID(bytes=digest(i)[:16])} user={i} token_count=12" for i in numbers
        ).encode(),
        "ids": "\n".join(
            f"toolu_01{base64.b64encode(digest(i)[:16], b'ab')[:22].decode()} msg_{i}" for i in numbers
        ).encode(),
        "numbers": "\n".join(
            f"{i * 7919:>12} {i / 7:.12f} 2026-03-01T10:{i % 60:02}:00.000Z" for i in numbers
        ).encode(),
        "names": "\n".join(f"sk-fading-circle-{i} re_compile_pattern_{i} pat-name-of-{i}" for i in numbers).encode(),
        "placeholders": b"api_key=xxxxxxxxxxxxxxxxxxxx AKIAXXXXXXXXXXXXXXXX sk-your-openai-api-key-here\n"
        b"ghp_xxxxxxxxxxxxxxxxxxxx postgres://user:password@localhost/db mongodb://<user>:<password>@host/ https://$USER:$TOKEN@host/\n"
        * 2000,
    }


@pytest.mark.parametrize("kind", benign())
def test_nothing_is_found_in_benign_text(search: Any, kind: str) -> None:
    assert findings(search, benign()[kind]) == Counter()


def sources() -> Iterator[bytes]:
    """This repository and the packages that it runs with: code, documentation, lock files, data; each text once."""
    seen: set[bytes] = set()
    total = 0
    for folder in (
        ROOT / "app",
        ROOT / "sidecar",
        ROOT / "docs",
        ROOT / "manifests",
        ROOT / "requirements",
        ROOT / ".venv",
    ):
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not path.is_file() or path.stat().st_size > 8_000_000:
                continue
            text = path.read_bytes()
            mark = hashlib.blake2b(text, digest_size=16).digest()
            if mark in seen or b"\0" in text[:4096]:
                continue
            seen.add(mark)
            yield text
            total += len(text)
            if total > AT_MOST:
                return


@pytest.mark.timeout(600)
def test_hardly_anything_is_found_in_sources(search: Any, record_property: Any) -> None:
    counts: Counter[str] = Counter()
    size = 0
    for text in sources():
        size += len(text)
        counts += findings(search, text)
    megabytes = size / 1e6
    record_property("benign_megabytes", round(megabytes, 1))
    record_property("findings", dict(counts))
    assert megabytes > 1
    print(f"{megabytes:.1f} MB, {counts.total() / megabytes:.3f} findings a MB: {dict(counts)}")
    assert counts.total() <= max(3, megabytes * PER_MEGABYTE), counts


def test_the_list_in_the_documentation_is_current() -> None:
    assert (ROOT / "docs" / "dlp-types.md").read_text() == markdown(), (
        "python -m sidecar.dlp.patterns.vendors.listing > docs/dlp-types.md"
    )
