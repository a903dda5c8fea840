"""The answer to one proposal, or to several alike: yes or no, a reason that is already there, for how long. One more
key confirms. What is sent back stands for what was shown, so that nothing else is ever applied."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from app.core.gitdiff import kinds
from app.core.text import pieces, printable
from app.errors import CarboyError
from app.screens.room import CLOSE, Box, explain
from app.widgets.answer_field import OPENING, AnswerField
from app.widgets.approval_card import card
from app.widgets.ink import ink, lines
from app.widgets.rows import Blocks

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.content import Content
    from textual.events import Resize

    from app.core.approvals import ProposalView
    from app.messages import BoardChanged

REASONS = {
    "allow": ("Needed for the task", "A known, trusted host", "Reviewed"),
    "reject": ("Not needed for the task", "Use what is allowed already", "Too wide: ask for less", "Looks wrong"),
}
FINDINGS = ("Reviewed: it may go there", "A test value, not a secret", "No secret at all")
SCOPES = {"session": "until it ends", "once": "once", "15m": "for 15 minutes", "save": "and in its bottle file"}


def who() -> str:
    """The operator, as another one who was slower is told."""
    try:
        return f"{getpass.getuser()} (app)"
    except (OSError, KeyError):
        return "operator (app)"


MOST_LINES = 3000
"""Of a difference that is shown whole: more than the largest proposal has."""
MOST_TICKING = 100
"""Lines that are drawn again each second."""
_WIDTH = 300


def diff_lines(diff: tuple[str, ...], most: int = MOST_LINES) -> list[Content]:
    """A difference with its colours; the sign says the same. A long line goes on in the next."""
    tones = {"added": "ok", "removed": "refused", "part": "faint", "head": "faint", "file": "bold accent"}
    rows: list[Content] = []
    for kind, line in kinds(diff[:most]):
        plain = f"  {line.strip()}" if kind in ("part", "head", "file") else f"{line[:1]} {line[1:]}"
        first, *more = pieces(plain, _WIDTH)
        rows += [ink((text, tones.get(kind, "soft"))) for text in (first, *(f"  {piece}" for piece in more))]
    return rows + ([ink((f"… {len(diff) - most} lines more", "faint"))] if len(diff) > most else [])


def _higher(rows: list[Content], width: int, room: int) -> bool:
    return len(rows) > room or sum(row.get_height({}, width) for row in rows) > room


def _same_question(shown: ProposalView, now: ProposalView) -> bool:
    """Whether it still asks for what was shown, with nothing more to be said against it."""
    loud = {risk.code for risk in now.risks if risk.level == "warn"} - {risk.code for risk in shown.risks}
    same = (shown.title, shown.hosts, shown.notes) == (now.title, now.hosts, now.notes)
    return same and now.state == "pending" and not loud


class Answer(Box[bool]):
    """`edited` is a routes file to be applied instead of what was asked. Dismissed with True once it is answered."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *CLOSE,
        Binding("tab", "scope(1)", "For how long", show=False, priority=True),
        Binding("shift+tab", "scope(-1)", "For how long", show=False, priority=True),
        Binding("up", "preset(-1)", "Another reason", show=False, priority=True),
        Binding("down", "preset(1)", "Another reason", show=False, priority=True),
        Binding("pagedown", "scroll(1)", "Scroll", show=False, priority=True),
        Binding("pageup", "scroll(-1)", "Scroll", show=False, priority=True),
    ]
    AUTO_FOCUS = "Input"
    DEFAULT_CSS = """
    Answer { align: center middle; background: $background 60%; }
    Answer > Vertical {
        width: 88; max-width: 96%; height: auto; max-height: 94%; border: round $asks; background: $panel; padding: 0 1;
        border-title-color: $asks; border-subtitle-color: $faint;
    }
    Answer Blocks, Answer Static { height: auto; }
    Answer Input { border: none; height: 1; padding: 0 1; background: $raised; margin: 1 0 0 0; }
    Answer Input:focus { border: none; background: $cursor; background-tint: $background 0%; }
    """

    def __init__(self, views: tuple[ProposalView, ...], verb: str, *, edited: str | None = None) -> None:
        super().__init__()
        self.views, self.verb, self.edited = views, verb, edited
        self.scope = "session"
        self._at = 0
        self._sending = False
        self._given = 0
        self._saving: ProposalView | None = None
        self._said = ink()
        self._drawn = 0
        self._over = False
        """Somebody else has answered it, or nobody waits for it any more."""

    @property
    def _presets(self) -> tuple[str, ...]:
        return FINDINGS if self.verb == "allow" and self.view.needs_reason else REASONS[self.verb]

    @property
    def view(self) -> ProposalView:
        return self.views[0]

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            many = f" {len(self.views)} alike" if len(self.views) > 1 else ""
            edited = " as edited" if self.edited is not None else ""
            box.border_title = ink((("Allow" if self.verb == "allow" else "Reject") + many + edited, "bold"))
            yield Blocks((), can_focus=False)
            yield AnswerField(self._presets[0], deaf=OPENING[self.verb], max_length=500)
            yield Static(id="answer-scope")

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        self._show_all()
        self.set_interval(1.0, self._tick)

    def _tick(self) -> None:
        """Its time runs on; but what takes long to draw is not drawn each second for that."""
        if self._drawn <= MOST_TICKING:
            self._show_all()

    def on_resize(self, event: Resize) -> None:
        self._show_all()

    def on_board_changed(self, event: BoardChanged) -> None:
        waiting = {view.id for view in self.carboy.proposals}
        if event.proposals and not self._sending and any(view.id not in waiting for view in self.views):
            self.work("see who answered it", self._answered_elsewhere(), group="elsewhere", alone=True)

    async def _answered_elsewhere(self) -> None:
        """Said at once, in the box: what is being typed must not become keys of the screen below."""
        from app.core.proposal import over

        found = [await self.client.proposal(view.id) for view in self.views]
        gone = [view for view in found if view.state != "pending"]
        if not gone or self._sending:
            return
        last = gone[-1]
        self._over = len(gone) == len(found)
        if not self._over:
            left = {view.id for view in found if view.state == "pending"}
            self.views = tuple(view for view in self.views if view.id in left)
        more = "" if self._over else f" ({len(gone)} of {len(found)}; the answer is for the rest)"
        self._say(f"▲ {over(last.state, last.decided_by, last.reason)}{more}", "asks")

    def _show_all(self) -> None:
        view = self._saving or self.view
        width = min(82, self.app.size.width - 10)
        # a report's text was read on its own page
        most = max(5, self.app.size.height - 16) if view.report else MOST_LINES // len(self.views)
        rows: list[Content] = []
        for item in self.views:
            rows.append(card(item, self.carboy.clock(), width))
            if self.verb == "allow":
                rows += diff_lines(view.diff if item is self.view else item.diff, most)
        if self._saving is not None and self._saving.manifest is not None:
            change = self._saving.manifest
            rows += [ink(), ink((f"{printable(change.file, 300)}", "bold accent")), *diff_lines(change.diff)]
            if change.used_by:
                users = printable(", ".join(change.used_by), 200)
                rows.append(ink((f"▲ also used by {users}", "asks")))
        self._drawn = len(rows)
        self._fit(rows, lines([self._scopes(), self._said]))

    def _fit(self, what: list[Content], below: Content) -> None:
        """What is asked scrolls; the reason, for how long and what was said stay in sight."""
        width = max(20, min(88, int(self.app.size.width * 0.96)) - 4)
        room = max(3, int(self.app.size.height * 0.94) - 4 - below.get_height({}, width))
        part = self.query_one(Blocks)
        part.styles.max_height = room
        part.show(what)
        self.query_one("#answer-scope", Static).update(below)
        more = "pgdn more · " if _higher(what, width - 2, room) else ""
        long = "tab for how long · " if self.verb == "allow" else ""
        keys = "↵ esc close" if self._over else f"↵ confirm · ↑↓ reasons · {long}{more}esc not now"
        self.query_one(Vertical).border_subtitle = ink((keys, "faint"))

    def _scopes(self) -> Content:
        if self.verb != "allow":
            return ink(("The agent is told the reason.", "faint"))
        parts = [ink((f"{'●' if name == self.scope else '○'} {SCOPES[name]}   ",
                      "bold accent" if name == self.scope else "faint")) for name in self._choices()]  # fmt: skip
        return ink().join(parts) if parts else ink()

    def _choices(self) -> list[str]:
        """Findings are never saved; several at once are not either, since each file change is to be seen."""
        savable = all(view.editable for view in self.views) and len(self.views) == 1
        return [name for name in SCOPES if name != "save" or savable]

    def action_preset(self, by: int) -> None:
        presets = self._presets
        self._at = (self._at + by) % len(presets)
        field = self.query_one(Input)
        field.value = presets[self._at]
        field.cursor_position = len(field.value)

    def action_scope(self, by: int) -> None:
        if self.verb != "allow":
            return
        choices = self._choices()
        self.scope = choices[(choices.index(self.scope) + by) % len(choices)]
        self._saving = None
        self._say("", "faint")
        if self.scope == "save":
            self.work("show the change of the bottle file", self._preview(), group="preview", alone=True)

    def action_scroll(self, by: int) -> None:
        self.query_one(Blocks).scroll_page_down() if by > 0 else self.query_one(Blocks).scroll_page_up()

    def _say(self, text: str, tone: str) -> None:
        self._said = ink((text, tone))
        self._show_all()

    def _body(self, view: ProposalView, **more: Any) -> Any:
        from app.core.approvals import ApproveBody

        reason = self.query_one(Input).value.strip()
        shown = {"reason": reason, "scope": self.scope, "routes": self.edited, "seen": view.seen, "by": who()}
        return ApproveBody(**{**shown, **more})

    async def _preview(self) -> None:
        self._saving = await self.client.approve(self.view.id, self._body(self.view, preview=True))
        self._say("", "faint")
        self.call_after_refresh(self.query_one(Blocks).scroll_end, animate=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._sending:
            return
        if self._over:
            self.dismiss(False)
        elif not event.value.strip() and (self.verb == "allow" and self.view.needs_reason):
            self._say("Say why it may pass", "asks")
        elif self.verb == "allow" and self.scope == "save" and self._saving is None:
            self._say("The change of the bottle file is not there yet", "asks")
        else:
            self._sending = True
            self.work(f"{self.verb} it", self._send(), group="answer")

    async def _send(self) -> None:
        """One after the other; those that are answered are gone from `views` when one fails."""
        from app.core.approvals import RejectBody

        try:
            while True:
                if self.verb == "reject":
                    reason = self.query_one(Input).value.strip()
                    await self.client.reject(self.view.id, RejectBody(reason=reason, by=who()))
                else:
                    await self._allow(self._saving or self.view)
                self._given += 1
                if len(self.views) == 1:
                    break
                self.views = self.views[1:]
        finally:
            self._sending = False
        self.carboy.notify(self._done())
        self.dismiss(True)

    def _done(self) -> str:
        more = f", and {self._given - 1} alike" if self._given > 1 else ""
        if self.verb == "reject":
            return f"Rejected: {self.view.title}{more}"
        edited = " as edited" if self.edited is not None else ""
        long = "" if self.scope == "session" else f" ({SCOPES[self.scope]})"
        return f"Allowed{edited}{long}: {self.view.title}{more}"

    async def _allow(self, view: ProposalView) -> None:
        """Those that were answered before this one have changed what it is to be compared with: it is looked at again,
        and must ask for what was shown."""
        if self._given:
            now = await self.client.proposal(view.id)
            if now.state in ("approved", "modified"):
                return  # by what was allowed before it
            if not _same_question(view, now):
                raise CarboyError("It is another change by now", "Look at it, then decide", "stale_view")
            view = now
        await self.client.approve(view.id, self._body(view))

    def failed(self, what: str, error: Exception) -> None:
        code = error.code if isinstance(error, CarboyError) else ""
        if code == "already_decided":
            self.carboy.notify(explain(error), severity="warning")
            self.dismiss(False)
            return
        self._say(f"✗ Could not {what}: {explain(error)}", "refused")
        if code == "stale_view" and self.edited is None:
            self.work("look again", self._look_again(), group="preview", alone=True)

    async def _look_again(self) -> None:
        self.views = (await self.client.proposal(self.view.id), *self.views[1:])
        self._given = 0
        self._saving = None
        self._show_all()
        if self.scope == "save":
            await self._preview()
        self._show_all()

    def action_close(self) -> None:
        self.dismiss(False)
