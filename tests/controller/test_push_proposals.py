"""A push that waits, as every face shows it: its lines where one proposal is looked at, and no reason for a review."""

import pytest

from app.controller import proposal_views
from app.core.gitdiff import kinds
from app.screens.proposal import story
from app.store.base import ProposalRow

TEXT = "refs/heads/main: abc -> def\n\n+print('hello')\n[red]not markup[/red]\n\x1b[31mnot a colour"


def row(kind: str, text: str = TEXT) -> ProposalRow:
    report = {
        "host": "git.example.com",
        "method": "PUSH",
        "path": "/app.git",
        "title": "push to app: main",
        "text": text,
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


def test_nothing_of_it_is_out_of_sight() -> None:
    """Neither at the end of a long line nor below many lines; what is left out is said."""
    long = "+" + "x" * 200 + " " * 600 + "\u202e\t" * 50 + "evil()"
    one = proposal_views.shown(row("git-push", f"@@ -0,0 +1,2 @@\n{long}\n+next"), (), full=True)
    drawn = [line.plain for line in story(one)]
    assert any("evil()" in line for line in drawn)
    assert not any("…" in line for line in drawn)
    assert "".join(line.lstrip("\\") for line in one.diff[1:-1]).endswith("evil()")
    assert [kind for kind, _ in kinds(one.diff)][-1] == "added"
    many = proposal_views.shown(row("git-push", "+\n" * 5000 + "+evil()"), (), full=True)
    assert len(many.diff) == 3000
    assert "2002 more lines" in story(many)[-1].plain
