"""What a bottle changed in its workspace: a tree of files, and one file's difference beside it. A copy's changes are
pulled into the project; what was changed in the project itself is put back to what it was before the launch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Static
from textual.widgets.option_list import Option

from app.core.changed import MARKS, NOTHING, Row, tree
from app.core.text import printable
from app.core.units import plural, size
from app.screens.page import PageBody
from app.screens.room import Room, explain
from app.widgets.ink import ink, lines
from app.widgets.key_bar import Key, KeyBar
from app.widgets.option_list import Options

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.content import Content
    from textual.widgets import OptionList

    from app.core.changed import Brought, Changes

TONES = {"added": "ok", "changed": "changed", "removed": "refused", "link": "faint", "other": "faint"}
SHOWN_LINES = 4000
"""Of one difference: more is for an editor."""
_SIGNS = {"+": "ok", "-": "refused", "@": "changed"}
_WHY = {
    "link": "a link: it is shown, and never brought back",
    "other": "no file, or it cannot be read: it is never brought back",
}


class ChangesScreen(Room):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "bring", "Pull, or put back, what is under the cursor", show=False),
        Binding("P", "bring_all", "Pull everything", show=False),
        Binding("r", "reload", "Compare again", show=False),
        Binding("q", "close", "Close", show=False),
        Binding("j", "app.simulate_key('down')", "Down", show=False),
        Binding("k", "app.simulate_key('up')", "Up", show=False),
        Binding("tab", "other", "The other side", show=False),
    ]
    AUTO_FOCUS = "Options"
    DEFAULT_CSS = """
    ChangesScreen > #changes-title { height: 1; padding: 0 1; background: $panel; dock: top; }
    ChangesScreen > #changes-word { height: auto; padding: 0 2; }
    ChangesScreen > Horizontal { height: 1fr; }
    ChangesScreen Options { width: 40%; max-width: 60; height: 1fr; padding: 1 0 0 0; border-right: solid $line;
        text-wrap: nowrap; text-overflow: ellipsis; }
    ChangesScreen Options:focus { border-right: solid $accent; }
    ChangesScreen PageBody { width: 1fr; height: 1fr; padding: 1 1 0 1; }
    """

    def __init__(self, slug: str) -> None:
        super().__init__()
        self.slug = slug
        self.found: Changes | None = None
        self.rows: list[Row] = []

    def compose(self) -> ComposeResult:
        yield Static(id="changes-title")
        with Horizontal():
            yield Options()
            with PageBody():
                yield Static(ink(("comparing…", "faint")), id="difference")
        yield Static(id="changes-word")
        yield KeyBar()

    def on_mount(self) -> None:
        self._draw()
        self.action_reload()

    # --- the tree -------------------------------------------------------------------------------------------------

    def action_reload(self) -> None:
        self.work("compare its files", self._load(), group="changes", alone=True)

    async def _load(self) -> None:
        self.found = await self.client.changes(self.slug)
        self.rows = tree(self.found.changes)
        options = self.query_one(Options)
        at = options.highlighted or 0
        drawn = [Option(_drawn(row)) for row in self.rows]
        options.set_options(drawn or [Option(ink(("no changes", "faint")), disabled=True)])
        if self.rows:
            options.highlighted = min(at, len(self.rows) - 1)
        else:
            self._show(ink((NOTHING.get(self.found.workspace, "Nothing was changed."), "soft")))
        self._draw()

    def _draw(self) -> None:
        found = self.found
        title = ink(
            ("◖ carboy  ", "bold accent"), ("What it changed", "bold ink"), (f"  {printable(self.slug, 63)}", "faint")
        )
        if found is not None:
            where = {
                "copy": "its copy, against the project",
                "mount": "the project, since its launch",
                "read-only": "it sees the project read-only",
                "none": "it has no project",
            }[found.workspace]
            title = title + ink((f"  {len(found.changes)} {plural('file', len(found.changes))} · {where}", "soft"))
            if found.left_out:
                more = f"not compared: {', '.join(printable(path, 60) for path in found.left_out[:3])}"
                self.say(more + (f" and {len(found.left_out) - 3} more" if len(found.left_out) > 3 else ""))
        self.query_one("#changes-title", Static).update(title)
        keys = [Key("esc", "close", "screen.close"), Key("tab", "other side", "screen.other")]
        if found is not None and found.changes:
            verb = "pull" if found.workspace == "copy" else "put back"
            keys.append(Key("p", verb, "screen.bring"))
            keys += [Key("P", "pull all", "screen.bring_all")] if found.workspace == "copy" else []
        self.query_one(KeyBar).show([*keys, Key("r", "compare again", "screen.reload")])

    @property
    def chosen(self) -> Row | None:
        at = self.query_one(Options).highlighted
        return self.rows[at] if at is not None and at < len(self.rows) else None

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        row = self.chosen
        if row is None:
            return
        if row.change is None:
            below = [item for item in self.rows if item.change and item.path.startswith(row.path + "/")]
            self._show(ink((f"{printable(row.path, 200)}/", "bold ink"), (f"  {len(below)} changed files", "soft")))
        elif row.change.kind in _WHY:
            self._show(ink((printable(row.path, 200), "bold ink"), (f"\n{_WHY[row.change.kind]}", "soft")))
        else:
            self.work("show the difference", self._difference(row.path), group="difference", alone=True)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.action_other()

    async def _difference(self, path: str) -> None:
        text = await self.client.difference(self.slug, path)
        row = self.chosen
        if row is not None and row.path == path:  # the cursor has not moved on meanwhile
            self._show(coloured(text) if text else ink(("an empty file, or its permissions alone", "soft")))

    def _show(self, content: Content) -> None:
        self.query_one("#difference", Static).update(content)
        self.query_one(PageBody).scroll_home(animate=False)

    def action_other(self) -> None:
        """From the tree into the difference, and back."""
        (self.query_one(PageBody) if self.query_one(Options).has_focus else self.query_one(Options)).focus()

    # --- bringing back --------------------------------------------------------------------------------------------

    def action_bring(self) -> None:
        row = self.chosen
        if row is not None and self.found is not None:
            self._ask((row.path,), printable(row.path, 200) + ("" if row.change else "/"))

    def action_bring_all(self) -> None:
        if self.found is not None and self.found.changes and self.found.workspace == "copy":
            number = len(self.found.changes)
            self._ask((), f"all {number} files" if number > 1 else "its one file")

    def _ask(self, paths: tuple[str, ...], what: str) -> None:
        from app.screens.confirm import Confirm

        assert self.found is not None
        if self.found.workspace == "copy":
            question = Confirm(
                f"Pull {what} into the project?",
                "Pull it",
                losses=("what stands there in the project now, where it differs", "files that the bottle removed"),
                kept=("masked files, links and .git", "the bottle's copy"),
            )
        else:
            question = Confirm(
                f"Put {what} back to what it was before the launch?",
                "Put it back",
                losses=("what was written there since, by the agent or by you",),
                kept=("masked files, links and .git",),
            )
        run = lambda yes: self.work("change the project", self._bring(paths), alone=True) if yes else None  # noqa: E731
        self.carboy.push_screen(question, run)

    async def _bring(self, paths: tuple[str, ...]) -> None:
        assert self.found is not None
        if self.found.workspace == "copy":
            done = await self.client.pull(self.slug, paths, delete=True)
        else:
            done = await self.client.put_back(self.slug, paths)
        self.say(_told(done), "asks" if done.left else "ok")
        await self._load()

    def say(self, text: str, tone: str = "faint") -> None:
        self.query_one("#changes-word", Static).update(ink((text, tone)) if text else ink())

    def failed(self, what: str, error: Exception) -> None:
        self.say(f"✗ Could not {what}: {explain(error)}", "refused")
        if self.found is None:
            self._show(ink())


def _drawn(row: Row) -> Content:
    indent = "  " * min(row.depth, 12)
    if row.change is None:
        return ink((f"{indent}▾ {printable(row.name, 100)}/", "soft"))
    kind = row.change.kind
    detail = f"  {size(row.change.size)}" if kind in ("added", "changed") else ""
    return ink((f"{indent}{MARKS[kind]} ", f"bold {TONES[kind]}"), (printable(row.name, 100), "ink"), (detail, "faint"))


def coloured(text: str) -> Content:
    """A unified difference, a tone for each kind of line."""
    rows = text.splitlines()
    shown = [ink((printable(row, 2000), _SIGNS.get(row[:1], "soft"))) for row in rows[:SHOWN_LINES]]
    more = len(rows) - SHOWN_LINES
    return lines([*shown, ink((f"and {more} lines more", "faint"))] if more > 0 else shown)


def _told(done: Brought) -> str:
    counts = {"wrote": len(done.written), "removed": len(done.removed)}
    parts = [f"{verb} {number}" for verb, number in counts.items() if number]
    if done.left:
        parts.append(f"left as it is: {'; '.join(printable(item, 100) for item in done.left[:2])}")
    return ", ".join(parts) or "nothing was changed"
