"""A push that waits, as every face shows it: its lines where one proposal is looked at, and no reason for a review."""

import pytest

from app.controller import proposal_views
from app.screens.proposal import story
from app.store.base import ProposalRow

TEXT = "refs/heads/main: abc -> def\n\n+print('hello')\n[red]not markup[/red]\n\x1b[31mnot a colour"


def row(kind: str) -> ProposalRow:
    report = {
        "host": "git.example.com",
        "method": "PUSH",
        "path": "/app.git",
        "title": "push to app: main",
        "text": TEXT,
    }
    return ProposalRow("p-000001", "dev", "s1", kind, "pending", 1.0, {"routes": None, "base": None, "report": report})


@pytest.mark.parametrize(("kind", "reason"), [("git-push", False), ("gitleaks-allow", True)])
def test_the_diff_is_there_to_be_read(kind: str, reason: bool) -> None:
    listed = proposal_views.shown(row(kind), ())
    assert (listed.title, listed.host, listed.needs_reason) == ("push to app: main", "git.example.com", reason)
    assert listed.diff == ()
    assert "text" not in (listed.report or {})
    one = proposal_views.shown(row(kind), (), full=True)
    assert "+print('hello')" in one.diff
    drawn = "\n".join(line.plain for line in story(one))
    assert "+ print('hello')" in drawn
    assert "[red]not markup[/red]" in drawn
    assert "\x1b" not in drawn
