"""One proposal in full: what it asks, what it would change, what speaks against it, what became of it. From here it is
edited, in place or in the operator's own editor, and answered."""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static, TextArea

from app import editor
from app.core.text import printable, printable_lines
from app.core.units import date_and_time
from app.errors import CarboyError
from app.files import read_bounded
from app.screens.answer import Answer, diff_lines, who
from app.screens.confirm import Confirm
from app.screens.page import Page, fact, heading
from app.screens.room import Box, explain
from app.widgets.approval_card import head, warnings
from app.widgets.ink import Row, ink, marked
from app.widgets.key_bar import Key, KeyBar

if TYPE_CHECKING:
    from textual.app import App, ComposeResult

    from app.core.approvals import ProposalView
    from app.messages import BoardChanged

MAX_EDIT = 256 * 1024
EDITS = ("screen.edit", "screen.editor")
"""What a report cannot be: there are no routes in it."""


class ProposalScreen(Page):
    """Asks for the proposal when it opens; `view` is what it shows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a,y", "answer('allow')", "Allow…", show=False),
        Binding("r", "answer('reject')", "Reject…", show=False, priority=True),
        Binding("e", "edit", "Edit", show=False),
        Binding("E", "editor", "Edit in $EDITOR", show=False),
        Binding("l", "log", "Its request", show=False),
    ]
    heading = "Proposal"
    keys: ClassVar[tuple[Key, ...]] = (
        Key("esc", "close", "screen.close"),
        Key("a", "allow", "screen.answer('allow')"),
        Key("r", "reject", "screen.answer('reject')"),
        Key("e", "edit here", "screen.edit"),
        Key("E", "in $EDITOR", "screen.editor"),
        Key("l", "its request", "screen.log"),
    )

    def __init__(self, view: ProposalView, *, edit: bool = False) -> None:
        super().__init__()
        self.view = view
        self._edit = edit

    async def rows(self) -> list[Row]:
        self.view = await self.client.proposal(self.view.id)
        self.query_one(KeyBar).show([key for key in self.keys if self.view.editable or key.action not in EDITS])
        if self._edit:
            self._edit = False
            self.action_edit()
        return story(self.view)

    def action_answer(self, verb: str) -> None:
        if self.view.state == "pending":
            self.carboy.push_screen(Answer((self.view,), verb), self._answered)
        else:
            from app.core.proposal import over

            self.carboy.notify(over(self.view.state, self.view.decided_by, self.view.reason))

    def on_board_changed(self, event: BoardChanged) -> None:
        waits = any(view.id == self.view.id for view in self.carboy.proposals)
        if event.proposals and self.view.state == "pending" and not waits:
            self.action_reload()

    def _answered(self, done: bool | None) -> None:
        if done:
            self.carboy.pop_screen()
        else:
            self.action_reload()

    def action_log(self) -> None:
        main = self.carboy.main_screen()
        if main is not None:
            main.open_request(self.view)

    def action_edit(self) -> None:
        if self._can_edit():
            self.carboy.push_screen(RoutesEditor(self.view.routes), self._edited)

    def action_editor(self) -> None:
        if self._can_edit():
            self.work("edit it", self._in_editor(), group="edit", alone=True)

    def _can_edit(self) -> bool:
        if self.view.state == "pending" and self.view.editable and self.view.routes:
            return True
        self.carboy.notify("A report cannot be edited" if not self.view.editable else "It cannot be edited (any more)")
        return False

    async def _in_editor(self) -> None:
        self._edited(await edit_outside(self, self.view.routes))

    def _edited(self, text: str | None) -> None:
        if text == self.view.routes:
            self.carboy.notify("Nothing was changed")
        elif text is not None:
            self.work("read the edited routes", self._check(text), group="edit", alone=True)

    async def _check(self, text: str) -> None:
        from app.core.approvals import ApproveBody

        body = ApproveBody(routes=text, preview=True, by=who())
        try:
            shown = await self.client.approve(self.view.id, body)
        except CarboyError as error:
            editor = RoutesEditor(text, wrong=explain(error), before=self.view.routes)
            self.carboy.push_screen(editor, self._edited)
            return
        self.carboy.push_screen(Answer((shown,), "allow", edited=text), self._answered)

    def failed(self, what: str, error: Exception) -> None:
        self.carboy.notify(explain(error), title=f"Could not {what}", severity="error", timeout=10)


async def edit_outside(screen: Page, text: str) -> str:
    """What the operator's own editor makes of `text`, with the app out of the way."""
    command = editor.command()
    with tempfile.TemporaryDirectory(prefix="carboy-") as folder:
        file = Path(folder) / "routes.yml"
        file.touch(0o600)
        file.write_text(text, encoding="utf-8")
        try:
            with screen.app.suspend(), editor.keys_are_its_own():
                _say_nothing(screen.app)
                await asyncio.to_thread(editor.run, command, file)
        except SuspendNotSupported:
            raise CarboyError("This terminal cannot be lent to an editor", "Press e to edit here", "editor") from None
        return _read_back(file)


class _Nowhere:
    """In the place of Textual's writing thread, which has ended while the terminal is lent: what is drawn meanwhile
    would fill that one's queue, and then hold the app for ever."""

    def write(self, text: str) -> None: ...

    def flush(self) -> None: ...

    def stop(self) -> None: ...


def _say_nothing(app: App[Any]) -> None:
    """Until Textual takes its terminal back, and draws all of it anew."""
    if getattr(app._driver, "_writer_thread", None) is not None:  # pyright: ignore[reportPrivateUsage]
        setattr(app._driver, "_writer_thread", _Nowhere())  # noqa: B010  # pyright: ignore[reportPrivateUsage]


def _read_back(file: Path) -> str:
    try:
        return read_bounded(file, MAX_EDIT).decode()
    except UnicodeDecodeError:
        raise CarboyError("What the editor wrote is not UTF-8", "Nothing was taken over", "editor") from None
    except OSError as error:
        text = f"What the editor wrote cannot be read: {error}"
        raise CarboyError(text, "Nothing was taken over", "editor") from None


_LINE = re.compile(r":(\d{1,6}): ")
"""Where an error says that something is wrong."""


class RoutesEditor(Box[str]):
    """A routes file, edited in place. Dismissed with the text, or with nothing; what was typed goes only after a yes.
    `wrong` is what its last try came to; the cursor is on the line that it names. `before`: the routes unedited."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "done", "Look at the change", show=False, priority=True),
        Binding("escape", "close", "Leave it", show=False, priority=True),
    ]
    AUTO_FOCUS = "TextArea"
    DEFAULT_CSS = """
    RoutesEditor { align: center middle; background: $background 60%; }
    RoutesEditor > Vertical {
        width: 100; max-width: 96%; height: 90%; border: round $accent; background: $panel; padding: 0 1;
        border-title-color: $accent; border-subtitle-color: $faint;
    }
    RoutesEditor TextArea, RoutesEditor TextArea:focus { border: none; height: 1fr; background: $background; }
    RoutesEditor Static { height: auto; max-height: 6; color: $refused; }
    """

    def __init__(self, text: str, *, wrong: str = "", before: str | None = None) -> None:
        super().__init__()
        self.text, self.wrong = text, wrong
        self.before = text if before is None else before

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = ink(("The routes as they will be", "bold"))
            box.border_subtitle = ink(("ctrl+s look at the change · esc leave it", "faint"))
            if self.wrong:
                yield Static(ink(("✗ Not usable yet: ", "bold refused"), (self.wrong, "refused")))
            yield TextArea(self.text, tab_behavior="indent", show_line_numbers=True)

    def on_mount(self) -> None:
        found = _LINE.search(self.wrong)
        if found is not None:
            self.query_one(TextArea).move_cursor((int(found[1]) - 1, 0))

    def action_done(self) -> None:
        self.dismiss(self.query_one(TextArea).text)

    def action_close(self) -> None:
        if self.query_one(TextArea).text == self.before:
            self.dismiss(None)
            return
        kept = ("the proposal: it waits on as it was asked",)
        question = Confirm("Drop what you typed?", "drop it", losses=("your changes to these routes",), kept=kept)
        self.carboy.push_screen(question, self._dropped)

    def _dropped(self, yes: bool | None) -> None:
        if yes:
            self.dismiss(None)


def story(view: ProposalView) -> list[Row]:
    """Everything that is known of a proposal."""
    rows: list[Row] = [
        head(view) + ink((f"   {view.state}", "bold ink")),
        ink((printable(view.title, 300), "ink")),
        ink(),
    ]
    if view.justification:
        rows += [ink((printable_lines(view.justification, 2000), "soft")), ink()]
    rows += [
        fact("asked", date_and_time(view.created_at) + (f", {view.asked} times" if view.asked > 1 else "")),
        fact("until", "no end" if view.expires_at is None else date_and_time(view.expires_at)),
        fact("id", view.id),
    ]
    rows += [
        fact(printable(name.replace("_", " "), 14), printable(str(value), 500))
        for name, value in (view.report or {}).items()
        if value
    ]
    found = [marked(row) for row in warnings(view, 20)]
    rows += [*heading("What to know"), *found] if found else []
    if view.diff:
        rows += [*heading("What it changes"), *diff_lines(view.diff)]
    if view.decided_at is not None:
        rows += [
            *heading("Decision"),
            fact("what", f"{view.state}{f', {view.scope}' if view.scope else ''}"),
            fact("when", date_and_time(view.decided_at)),
            fact("by", printable(view.decided_by, 100)),
            fact("reason", printable(view.reason, 1000)),
        ]
    return rows
