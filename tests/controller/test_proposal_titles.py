"""What a card says in a few words is no less than what it asks for."""

from typing import Any

import pytest

from app.controller import proposal_views
from app.store.base import ProposalRow

SMALL = {"paths": [{"value": "/v1/items"}], "methods": ["GET"]}


@pytest.mark.parametrize(
    ("matches", "git", "title"),
    [
        ([SMALL], False, "GET a.example/v1/items"),
        ([SMALL, {"methods": ["GET"]}], False, "GET a.example/ +1"),
        ([SMALL, {}], False, "any method a.example/ +1"),
        ([{"paths": [{"value": "/v1/items"}, {"value": "/v1"}], "methods": ["GET"]}], False, "GET a.example/v1 +1"),
        ([SMALL, {"paths": [{"type": "regex", "value": "/.*"}]}], False, "any method a.example/.* +1"),
        ([SMALL, {"paths": [{"type": "exact", "value": "/"}]}], False, "GET a.example/v1/items +1"),
        ([SMALL], True, "git fetch, GET a.example/v1/items"),
        ([], True, "git fetch, a.example (anything)"),
    ],
)
def test_the_widest_rule_is_told(matches: list[dict[str, Any]], git: bool, title: str) -> None:
    route = {"host": "a.example", "matches": matches, "git": {"fetch": git}}
    payload = {"routes": [route], "base": [], "report": None}
    row = ProposalRow("p-000001", "dev", "s1", "egress-allow", "pending", 1.0, payload)
    assert proposal_views.shown(row, ()).title == title
