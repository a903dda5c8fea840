"""What a bottle was refused, host by host: the operator says which of them a new bottle file should allow, reads the
file, and writes it. Nothing is allowed by looking; names that are not what they seem start unchosen and say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Input, Static

from app.core.text import printable, printable_lines
from app.core.units import plural
from app.screens.list_page import ListPage
from app.screens.room import Box, explain
from app.widgets.ink import ink, lines
from app.widgets.key_bar import Key, KeyBar

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.content import Content

    from app.core.learning import LearnedHost, LearnReport


class LearnScreen(ListPage["LearnedHost"]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "turn", "Take it in, or not", show=False),
        Binding("y", "answer(True)", "Take it in", show=False),
        Binding("n", "answer(False)", "Leave it out", show=False),
        Binding("w", "write", "Look at the file", show=False),
    ]
    heading = "Learned"
    empty = "Nothing was refused that a route would mend"
    keys: ClassVar[tuple[Key, ...]] = (
        Key("esc", "close", "screen.close"),
        Key("y", "take it in", "screen.answer(True)"),
        Key("n", "leave it out", "screen.answer(False)"),
        Key("w", "look at the file, and write it", "screen.write"),
    )

    def __init__(self, slug: str) -> None:
        super().__init__()
        self.slug = slug
        self.report: LearnReport | None = None
        self.taken: set[str] = set()

    async def fetch(self) -> Sequence[LearnedHost]:
        self.report = found = await self.client.learned(self.slug)
        self.note = f"what {printable(self.slug, 63)} was refused · nothing is allowed by looking"
        other = sum(found.other.values())
        gone = found.dropped
        more = [
            f"{other} {plural('refusal', other)} more that no route mends" if other else "",
            f"{gone:,} older {plural('line', gone)} dropped to make room" if gone else "",
        ]
        self.say(" · ".join(filter(None, more)), "faint")
        self.query_one(KeyBar).show(self.keys if any(not host.known for host in found.hosts) else self.keys[:1])
        return found.hosts

    def row(self, item: LearnedHost) -> Content:
        on = item.host in self.taken
        mark = ("~ ", "faint") if item.known else ("● ", "bold accent") if on else ("○ ", "faint")
        head = ink(mark, (printable(item.host, 80), "bold ink" if on else "ink"), (f"  {item.times}×", "faint"))
        rows = [head]
        if item.known:
            rows.append(ink(("    has a route already: widen it by `carboy routes --edit`", "faint")))
        if item.letters:
            rows.append(ink((f"    ▲ in its own letters: {printable(item.letters, 80)}", "asks")))
        if item.resembles:
            rows.append(ink((f"    ▲ looks like {printable(item.resembles, 80)}, and is not", "bold asks")))
        for one in item.asked[:3]:
            rows.append(ink((f"    {printable(one.method, 12)} ", "soft"), (printable(one.path, 70), "soft"),
                            (f"{'…' if one.prefix else ''} {one.times}×", "faint")))  # fmt: skip
        if len(item.asked) > 3:
            rows.append(ink((f"    and {len(item.asked) - 3} more", "faint")))
        return lines(rows)

    def on_option_list_option_selected(self) -> None:
        self.action_turn()

    def action_turn(self) -> None:
        if self.chosen is not None:
            self.action_answer(self.chosen.host not in self.taken)

    def action_answer(self, take: bool) -> None:
        """Answer for the host under the cursor, and go on to the next."""
        item = self.chosen
        if item is None or item.known:
            return
        self.taken.add(item.host) if take else self.taken.discard(item.host)
        self.show(self.items)
        from app.widgets.option_list import Options

        self.query_one(Options).action_cursor_down()

    def action_write(self) -> None:
        if self.report is None or not any(not item.known for item in self.items):
            return
        if not self.taken:
            self.say("Take a host in first: y", "asks")
            return
        hosts = tuple(item.host for item in self.items if item.host in self.taken)
        self.carboy.push_screen(WriteLearned(self.report, hosts, self._bottles()), self._written)

    def _bottles(self) -> tuple[str, ...]:
        view = self.carboy.board.views.get(self.slug)
        return view.bottles if view is not None else ()

    def _written(self, file: str | None) -> None:
        if file:
            self.carboy.notify(f"{file}: the next launch can use it", title="Written")


class WriteLearned(Box[str]):
    """The file as it would be, and its name. Dismissed with the path once it is written."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pagedown", "scroll(1)", show=False),
        Binding("pageup", "scroll(-1)", show=False),
    ]
    DEFAULT_CSS = """
    WriteLearned { align: center middle; background: $background 60%; }
    WriteLearned > Vertical {
        width: 92; max-width: 96%; height: auto; max-height: 90%; border: round $accent; background: $panel;
        padding: 0 1; border-title-color: $accent; border-subtitle-color: $faint;
    }
    WriteLearned VerticalScroll { height: auto; max-height: 1fr; }
    WriteLearned #learned-word { height: auto; }
    WriteLearned Input { border: none; height: 1; padding: 0 1; background: $raised; margin-top: 1; }
    """

    def __init__(self, report: LearnReport, hosts: tuple[str, ...], bottles: tuple[str, ...]) -> None:
        super().__init__()
        self.report, self.hosts, self.bottles = report, hosts, bottles

    def compose(self) -> ComposeResult:
        from app.core.learning import bottle_file

        with Vertical() as box:
            box.border_title = ink(("A new bottle file", "bold"))
            box.border_subtitle = ink(("↵ write it · pgup pgdn · esc not now", "faint"))
            with VerticalScroll():
                text = bottle_file(self.report, self.hosts, self.bottles)
                yield Static(ink((printable_lines(text, 40_000), "soft")))
            yield Input(self.report.name, max_length=63, compact=True)
            yield Static(ink(("its name; a file that is there is never overwritten", "faint")), id="learned-word")

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def action_scroll(self, by: int) -> None:
        box = self.query_one(VerticalScroll)
        box.scroll_page_down() if by > 0 else box.scroll_page_up()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.work("write it", self._write(event.value.strip()), group="write", alone=True)

    async def _write(self, name: str) -> None:
        self.dismiss(await self.client.save_learned(self.report.slug, self.hosts, name))

    def failed(self, what: str, error: Exception) -> None:
        self.query_one("#learned-word", Static).update(ink((f"✗ {printable(explain(error), 400)}", "refused")))
