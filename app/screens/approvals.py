"""What the operator can do with the cards that wait, from the panel and, by the leader and a key, from the agent's
terminal, which has the keyboard back once the answer is given."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from app.screens.room import Working
from app.widgets.approvals_panel import ApprovalsPanel

if TYPE_CHECKING:
    from textual.screen import Screen

    from app.core.approvals import ProposalView
    from app.core.journal import Entry

BACK_SECONDS = 5.0
"""An answer so soon after the leader was meant from within the terminal."""


class ApprovalActions(Working):
    """Mixed into the main screen."""

    left_terminal_at = float("-inf")

    def open_story(self, entry: Entry) -> None:
        raise NotImplementedError

    def return_to_terminal(self) -> None:
        raise NotImplementedError

    @property
    def approvals(self) -> ApprovalsPanel:
        return cast("Screen[Any]", self).query_one(ApprovalsPanel)

    def action_answer(self, verb: str) -> None:
        """Answer the card under the cursor, or the oldest."""
        view = self.approvals.first
        if view is None:
            self.carboy.notify("Nothing waits for you")
        elif self.approvals.armed(view):
            self.answer((view,), verb)

    def on_approvals_panel_asked(self, event: ApprovalsPanel.Asked) -> None:
        event.stop()
        view = event.view
        if event.verb in ("open", "edit"):
            from app.screens.proposal import ProposalScreen

            self.carboy.push_screen(ProposalScreen(view))
        elif event.verb == "log":
            self.open_request(view)
        elif event.verb == "batch":
            self.answer(self.alike(view), "allow")
        else:
            self.answer((view,), event.verb)

    def answer(self, views: tuple[ProposalView, ...], verb: str) -> None:
        from app.screens.answer import Answer

        back = monotonic() - self.left_terminal_at < BACK_SECONDS

        def done(_: bool | None) -> None:
            if back:
                self.return_to_terminal()

        self.carboy.push_screen(Answer(views, verb), done)

    def alike(self, view: ProposalView) -> tuple[ProposalView, ...]:
        """Cards that ask for access to the same host in the same bottle. Findings are answered one by one: each is
        another value."""
        if not view.editable or not view.host:
            return (view,)
        same = tuple(
            item
            for item in self.carboy.proposals
            if item.editable and (item.slug, item.host) == (view.slug, view.host) and self.approvals.armed(item)
        )
        return same or (view,)

    def open_request(self, view: ProposalView) -> None:
        """The request that a card is about: the held one, or the latest that was refused for its host."""
        entries = self.carboy.board.entries(view.slug)
        request = str((view.report or {}).get("request_id") or "")
        for entry in reversed(entries):
            if entry.kind == "egress" and (
                entry.request_id == request if request else entry.host in view.hosts and entry.decision != "allow"
            ):
                self.open_story(entry)
                return
        self.carboy.notify("Its request is not in the log")
