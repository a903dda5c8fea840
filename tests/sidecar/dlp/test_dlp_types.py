"""Every vendor's type through the whole engine, with both searches: its own texts are found, and in JSON too."""

import json

import pytest

from sidecar.dlp.engine import Engine, EngineConfig
from sidecar.dlp.matcher import Backend
from sidecar.dlp.patterns.model import CredentialType, all_types
from tests.sidecar.dlp.dlp_kit import names, scan

ENGINES: dict[Backend, Engine] = {
    name: Engine.compile(EngineConfig(backend=name)) for name in ("hyperscan", "portable")
}


@pytest.mark.parametrize("each", all_types(), ids=lambda each: each.id)
def test_a_types_own_texts_are_found(each: CredentialType) -> None:
    for name, engine in ENGINES.items():
        for text in each.positives:
            assert each.id in names(scan(engine, text.encode())), (name, "as it is")
            inside = json.dumps({"content": "first\n" + text + "\nlast"}).encode()
            assert each.id in names(scan(engine, inside)), (name, "in JSON")
            nested = json.dumps({"arguments": json.dumps({"cmd": "first\n" + text + "\nlast"})}).encode()
            assert each.id in names(scan(engine, nested)), (name, "nested in JSON")
        for text in each.negatives:
            assert each.id not in names(scan(engine, text.encode())), name


def test_documented_values_are_marked() -> None:
    engine = ENGINES["hyperscan"]
    marked = [
        finding
        for each in all_types()
        for value in each.documented
        for finding in scan(engine, f'{" ".join(each.keywords)} = "{value}"'.encode()).findings
        if finding.kind == each.id
    ]
    assert marked
    assert all(finding.example for finding in marked)
