"""Credentials of vendors' forms in an encoding, with words and further lines beside it: as a terminal shows them."""

import base64
import json
import random

import pytest

from sidecar.dlp.patterns.model import all_types
from tests.sidecar.dlp.dlp_kit import engine_for, names, scan

ENGINE = engine_for(())
WORDS = ("echo", "code", "seed", "feed", "face", "token", "Forwarded", "HEAD", "v1", "id2", "base64", "K3Y", "next")
FORMS = {
    "a command": "echo {b64} | base64 -d",
    "lines of a terminal": "$ cat k | base64\n{b64}\n{word}\n",
    "a word before base64": "{word} {b64}",
    "a word behind base64": "{b64}\n{word}",
    "base64 in a path": "/{word}/v1/{url}/x",
    "a list in base64": "{b64}\n{b64}\n{b64}\n",
    "base64 in lines, behind a word": "{word}\n{wrapped}\n",
    "a name before hex": '{{"{word}":"{hex}"}}',
    "a word before hex": "{word} {hex}",
    "a word before large hex": "{word}-{HEX}",
    "a list in hex": "{hex}\n{hex}\n",
    "a word before pairs of hex": "{word}: {pairs}",
    "words before base32": "{word}{word} {b32}",
    "capitals before base32": "SECRETKEY {b32}",
}


def values() -> list[tuple[str, bytes]]:
    """Those of the vendors' examples that count by themselves; a sign is 18 bytes long."""
    found: dict[bytes, str] = {}
    for each in all_types():
        for text in each.positives:
            for finding in scan(ENGINE, text.encode()).findings:
                value = finding.value.reveal() if finding.value else b""
                if finding.kind == each.id and 24 <= len(value) <= 120 and each.id in names(scan(ENGINE, value)):
                    found[value] = each.id
    return sorted((kind, value) for value, kind in found.items())


def spelt(form: str, value: bytes, word: str) -> str:
    text = base64.b64encode(value).decode()
    return FORMS[form].format(
        word=word, b64=text, url=text.translate(str.maketrans("+/", "-_")).rstrip("="), hex=value.hex(),
        HEX=value.hex().upper(), pairs=value.hex(":"), b32=base64.b32encode(value).decode(),
        wrapped="\n".join(text[at : at + 24] for at in range(0, len(text), 24)),
    )  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_words_and_lines_beside_an_encoding_hide_nothing(form: str) -> None:
    """A word before it was decoded with it: what that left looked like the credential's own beginning."""
    rng = random.Random(form)
    known = values()
    assert len(known) > 250
    missed = [
        (kind, text)
        for kind, value in rng.sample(known, 80)
        for text in [spelt(form, value, rng.choice(WORDS))]
        for said in (text, json.dumps({"output": text}))
        if kind not in names(scan(ENGINE, said.encode()))
    ]
    assert not missed, missed[:5]
