"""What the operator can do with the cards that wait, from the panel and, by the leader and a key, from the agent's
terminal, which has the keyboard back once the answer is given."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from app.screens.room import Working
from app.widgets.approvals_panel import ApprovalsPanel

if TYPE_CHECKING:
    from textual.screen import Screen

    from app.core.approvals import ProposalView
    from app.core.journal import Entry

MOST_ALIKE = 20
"""Cards that one answer is for: all of them are shown with what they change."""
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
        if view.kind == "budget-ask":
            self.answer_budget(view, event.verb)
        elif event.verb in ("open", "edit"):
            from app.screens.proposal import ProposalScreen

            self.carboy.push_screen(ProposalScreen(view, edit=event.verb == "edit"))
        elif event.verb == "log":
            self.open_request(view)
        elif event.verb == "batch":
            self.answer(self.alike(view), "allow")
        else:
            self.answer((view,), event.verb)

    def answer(self, views: tuple[ProposalView, ...], verb: str) -> None:
        from app.screens.answer import Answer

        if views[0].kind == "budget-ask":
            self.answer_budget(views[0], verb)
        else:
            self.carboy.push_screen(Answer(views, verb), self._back())

    def answer_budget(self, card: ProposalView, verb: str) -> None:
        """Yes raises it by what is suggested, or typed; no is a cutoff; both after one more key."""
        from app.core import asks
        from app.screens.budget import BudgetBox

        bottle, ask = self.carboy.board.views.get(card.slug), asks.named(card.id)
        held = asks.used_up(bottle, ask[1]) if bottle is not None and ask is not None else None
        if bottle is None or held is None or verb == "log":
            self.carboy.notify("No one request has used it up" if verb == "log" else "It waits no more")
            return
        action = "cutoff" if verb == "reject" else "raise"
        self.carboy.push_screen(BudgetBox(bottle, action=action, provider=held.provider), self._back())

    def _back(self) -> Callable[[bool | None], None]:
        """What follows an answer: the keyboard is the agent's again, where it was before."""
        back = monotonic() - self.left_terminal_at < BACK_SECONDS

        def done(_: bool | None) -> None:
            if back:
                self.return_to_terminal()

        return done

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
        return same[:MOST_ALIKE] or (view,)

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
