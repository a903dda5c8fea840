"""Pictures of a push that waits for the operator: its page with the diff, and the answer to it, on a small and on a
large terminal."""

from typing import Any

import pytest
from textual.pilot import Pilot

from app.core.approvals import ProposalView
from app.widgets.approvals_panel import ApprovalsPanel
from tests.tui.scripted import ScriptedClient, app, found
from tests.tui.test_snapshots import LARGE, SMALL, keys
from tests.tui.waiting import ready, until

pytestmark = pytest.mark.xdist_group("snapshots")
DIFF = """ refs/heads/main: c73453378611 -> 37b23ad1ff0a

 refs/heads/main
 37b23ad Retry with a cap, and say which try it is
 cec215b Count tries

  src/retry.py | 5 +++--
  1 file changed, 3 insertions(+), 2 deletions(-)

 diff --git a/src/retry.py b/src/retry.py
 index ce01362..4b5fa63 100644
--- a/src/retry.py
+++ b/src/retry.py
@@ -1,4 +1,5 @@
 def retry(work, tries=5):
-    for _ in range(tries):
+    for number in range(tries):
+        log(f"try {number}")
         work()
-    raise Gone
+    raise Gone(tries)"""


def pushed() -> ProposalView:
    return found(
        "g-000001",
        kind="git-push",
        title="push to app: main",
        host="git.example.com",
        hosts=("git.example.com",),
        report={"host": "git.example.com", "port": 22, "method": "PUSH", "path": "/app.git", "location": "main"},
        diff=tuple(DIFF.split("\n")),
        needs_reason=False,
    )


@pytest.mark.parametrize(
    ("size", "pressed", "shows"),
    ids=["page", "page-small", "page-small-down", "answer", "answer-small"],
    argvalues=[
        (LARGE, ("a", "enter"), "raise Gone(tries)"),
        (SMALL, ("a", "enter"), "What it changes"),
        (SMALL, ("a", "enter", "pagedown"), "raise Gone(tries)"),
        (LARGE, ("a", "enter", "a"), "for 15 minutes"),
        (SMALL, ("a", "enter", "a"), "for 15 minutes"),
    ],
)
def test_picture_of_a_push_that_waits(
    size: tuple[int, int], pressed: tuple[str, ...], shows: str, snap_compare: Any
) -> None:
    client = ScriptedClient()
    client.proposals_now = [pushed()]

    async def before(pilot: Pilot[Any]) -> None:
        await ready(pilot)
        panel = pilot.app.screen.query_one(ApprovalsPanel)
        await until(pilot, lambda: panel.first is not None and panel.armed(panel.first), "a card that takes answers")
        await keys(*pressed, shows=shows)(pilot)

    assert snap_compare(app(client), terminal_size=size, run_before=before)
