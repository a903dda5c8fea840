"""The TUI's app: one window onto the controller. It owns the feed, the board, the theme and the way between screens;
it holds nothing that matters, so closing it, or killing it, stops no bottle. Heavy imports wait for the first paint."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.events import Event, Key, Paste
from textual.notifications import SeverityLevel

from app import themes
from app.commands import command, textual_key
from app.core.board import Board
from app.core.journal import Entry
from app.core.text import printable, printable_lines, visible
from app.core.units import plural
from app.feed import Connect, Feed
from app.hangup import end_with_terminal
from app.messages import BoardChanged, BoardReplaced, Link, LinkChanged, SettingsChanged
from app.screens.room import Working

if TYPE_CHECKING:
    from textual.message import Message
    from textual.notifications import Notify
    from textual.screen import Screen

    from app.client import Client
    from app.core.approvals import ProposalView
    from app.core.model import Provenance
    from app.core.notices import Notice
    from app.screens.main import MainScreen

FLUSH = 0.1
"""Seconds from the first change to the message that tells it (style.md: flush at 10 Hz, one message a panel)."""
TOASTS = 3
"""Most notices alive at once (style.md: a hundred took 300 ms, most of them off the screen)."""
RING_SECONDS = 1.0
NOTICES = 100
"""Notices that the centre holds (hardening.md)."""
_TONES: dict[str, tuple[SeverityLevel, bool]] = {
    "success": ("information", False),
    "info": ("information", False),
    "agent_complete": ("information", False),
    "warning": ("warning", True),
    "error": ("error", True),
    "agent_error": ("error", True),
}
"""How a notice's level is shown, and whether it rings."""
YOUNG = 50_000
"""Allocations between collections of the youngest generation: with the default the longest hiccups are the
collector's (style.md: p99 lag 127 → 35 ms with this and a frozen start)."""


async def connect() -> Client:
    """The running controller's client; starts a controller where none answers."""
    from app.client import Client

    return await Client.connect()


class CarboyApp(Working, App[None], inherit_bindings=False):
    """`connect` and `clock` are the app's only ways out; tests hand in their own."""

    CSS_PATH = Path(__file__).with_name("carboy.tcss")
    TITLE = "carboy"
    ENABLE_COMMAND_PALETTE = False
    NOTIFICATION_TIMEOUT = 4
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "how_to_leave", show=False, system=True)]

    def __init__(self, connect: Connect = connect, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.clock = clock
        self.board = Board()
        self.feed = Feed(connect, self.board, self)
        self.link: Link = "connecting"
        self.link_text = ""
        self.proposals: tuple[ProposalView, ...] = ()
        self._greeted = False
        self.notices: tuple[Notice, ...] = ()
        self._told: frozenset[str] | None = None
        self._ends_here: set[str] = set()
        self._rang = float("-inf")
        self.settings: tuple[Provenance, ...] = ()
        self.leader = textual_key("ctrl+]")
        self._entries: list[Entry] = []
        self._changed: set[str] = set()
        self._scheduled = False
        for name in themes.PALETTES:
            self.register_theme(themes.theme(name))
        self.theme = themes.DEFAULT
        self.ansi_theme_light = (
            self.ansi_theme_dark
        )  # only the agents' terminal has such colours, and it is always dark

    def get_default_screen(self) -> Screen[Any]:
        from app.screens.main import MainScreen

        return MainScreen(self.size)

    def on_mount(self) -> None:
        end_with_terminal(self)
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))  # `fg`: Textual draws what changed
        self.call_after_refresh(self._painted)

    def _painted(self) -> None:
        """The first frame is out: now the rest may load."""
        self.run_worker(self.feed.run(), group="feed", exit_on_error=False)
        gc.freeze()
        gc.set_threshold(YOUNG, 20, 50)

    # --- what the feed tells ----------------------------------------------------------------------------------------

    def link_changed(self, link: Link, text: str) -> None:
        self.link, self.link_text = link, printable(text, 300)
        if link == "connected" and not self._greeted:
            self._greeted = True
            self.work("look at what happened", self._greet(), group="greet")
        self._to_screens(lambda: LinkChanged(link, self.link_text))

    async def _greet(self) -> None:
        """A word on what bottles did while no window was open, where they did something."""
        found = await self.client.away()
        ended = sum(report.ended_at is not None for report in found.reports)
        asked = sum(report.open for report in found.reports)
        if ended or asked:
            open_ones = "1 question is open" if asked == 1 else f"{asked} questions are open"
            parts = [f"{ended} ended" if ended else "", open_ones if asked else ""]
            self.notify(f"{', '.join(filter(None, parts))}. W shows what each did", title="Since you left")

    def board_replaced(self) -> None:
        self._entries.clear()
        self._changed.clear()
        self._to_screens(BoardReplaced)

    def board_changed(self, entry: Entry | None = None, *, bottles: bool = False, catalogue: bool = False) -> None:
        if entry is not None:
            self._entries.append(entry)
        self._changed |= {name for name, on in (("bottles", bottles), ("catalogue", catalogue)) if on}
        self._schedule_changes()

    def proposals_changed(self, proposals: tuple[ProposalView, ...]) -> None:
        self.proposals = proposals
        self._ring(proposals)
        self._changed.add("proposals")
        self._schedule_changes()

    def proposal_expired(self, proposal: ProposalView) -> None:
        """A card goes by itself: whoever looked elsewhere should know that it was not answered."""
        text = f"{proposal.slug} asked: {proposal.title}. Nobody answered in time"
        self.notify(text, title="Expired", severity="warning")

    @property
    def waiting(self) -> tuple[ProposalView, ...]:
        """All that waits for the operator: proposals, and budgets that ask, the oldest first."""
        if not any(view.asks for view in self.board.views.values()):
            return self.proposals
        from app.core.asks import waiting

        return waiting(self.proposals, self.board.views.values())

    def _ring(self, proposals: tuple[ProposalView, ...]) -> None:
        """A bell, and a word, for what is new; not for what waited already when this window opened."""
        ids = frozenset(view.id for view in proposals)
        fresh = [view for view in proposals if self._told is not None and view.id not in self._told]
        self._told = ids
        if fresh:
            if time.monotonic() - self._rang > RING_SECONDS:  # a bottle that asks and leaves again must not drum
                self._rang = time.monotonic()
                self.bell()
            more = f", and {len(fresh) - 1} more" if len(fresh) > 1 else ""
            self.notify(f"{fresh[0].slug} asks: {fresh[0].title}{more}", title="⚑ Waits for you", severity="warning")

    def notices_read(self, notices: tuple[Notice, ...]) -> None:
        """All that are remembered, the newest first."""
        self.notices = notices
        self._changed.add("notices")
        self._schedule_changes()

    def noticed(self, notice: Notice) -> None:
        """Something worth hearing of has just happened. A card rings by itself (`_ring`)."""
        self.notices_read((notice, *self.notices)[:NOTICES])
        known = notice.about == "done" and notice.slug in self._ends_here and not notice.text
        if notice.about == "done":
            self._ends_here.discard(notice.slug)
        if notice.about != "approval" and not known:
            severity, bell = _TONES[notice.level]
            self.notify(notice.text or notice.title, title=notice.title if notice.text else "", severity=severity)
            if bell:
                self.bell()
        if not self.app_focus and self.setting("desktop_notifications") != "off":
            from app.desktop import tell

            self.run_worker(tell(self, notice.title, notice.text), group="desktop", exit_on_error=False)

    @contextlib.contextmanager
    def ending(self, slug: str) -> Iterator[None]:
        """This window ends a bottle, and says so itself: the notice of it is no toast, unless it says more."""
        self._ends_here.add(slug)
        try:
            yield
        except BaseException:
            self._ends_here.discard(slug)
            raise

    @property
    def unread(self) -> int:
        return sum(not notice.read for notice in self.notices)

    def setting(self, path: str) -> Any:
        return next((item.value for item in self.settings if item.path == path), None)

    def warned(self, text: str) -> None:
        """Something is wrong with the controller itself."""
        self.notify(text, title="Controller", severity="warning", timeout=15)

    def settings_read(self, settings: tuple[Provenance, ...]) -> None:
        if settings == self.settings:
            return
        self.settings = settings
        values = {item.path: item.value for item in settings}
        self.leader = textual_key(str(values.get("leader_key") or "ctrl+]"))
        wanted = str(values.get("theme") or themes.DEFAULT)
        if wanted in themes.PALETTES:  # Textual's own lack our names of colours, and would end the app
            self.theme = wanted
        else:
            self.notify(f"There is no theme {wanted!r}; known are {', '.join(themes.PALETTES)}", severity="warning")
        self._to_screens(SettingsChanged)

    def _schedule_changes(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.set_timer(FLUSH, self._tell_changes)

    def _tell_changes(self) -> None:
        self._scheduled = False
        entries, self._entries = tuple(self._entries), []
        changed, self._changed = self._changed, set()
        self._to_screens(
            lambda: BoardChanged(
                bottles="bottles" in changed,
                entries=entries,
                proposals="proposals" in changed,
                catalogue="catalogue" in changed,
                notices="notices" in changed,
            )
        )

    def _to_screens(self, make: Callable[[], Message]) -> None:
        for screen in self.screen_stack:
            screen.post_message(make())

    # --- notices ----------------------------------------------------------------------------------------------------

    async def on_event(self, event: Event) -> None:
        """What is pasted into a field is what can be seen: hidden text is no order to an agent, and a turned direction
        shows a line that is none. The agent's own terminal gets it all (`app.terminal.keys`).

        The leader is taken here, where keys still are in one order: what is typed right behind it is not the agent's,
        whose dialog would take a `y`."""
        if isinstance(event, Key) and not event.is_forwarded and event.key == self.leader:
            take = getattr(self.screen, "take_leader", None)
            if take is not None and take():
                return
        if isinstance(event, Paste) and not event.is_forwarded:
            from textual.widgets import Input, TextArea

            if isinstance(self.focused, Input | TextArea):
                text = event.text.replace("\r\n", "\n").replace("\r", "\n")
                seen = visible(text)
                if hidden := len(text) - len(seen):
                    what = f"{hidden} invisible {plural('character', hidden)} of what was pasted"
                    self.notify(f"{what} {'was' if hidden == 1 else 'were'} left out", severity="warning")
                event = Paste(seen)
        await super().on_event(event)

    def on_notify(self, event: Notify) -> None:
        """Keep at most `TOASTS` alive and never two alike; Textual's own handler then adds this one."""
        new = event.notification
        alive = [item for item in self._notifications if not item.has_expired]
        if any((item.message, item.severity) == (new.message, new.severity) for item in alive):
            event.prevent_default()
            return
        for old in alive[: max(0, len(alive) - TOASTS + 1)]:
            self._unnotify(old, refresh=False)

    def notify(self, message: str, *, title: str = "", markup: bool = False, **options: Any) -> None:
        """A notice in a corner. Its text is never markup: it may quote a bottle."""
        super().notify(printable_lines(message, 600), title=printable(title, 80), markup=False, **options)

    def _fatal_error(self) -> None:
        """Ours, since Textual's prints the values of local variables, and one of them may be a secret being typed."""
        from rich.segment import Segments
        from rich.traceback import Traceback

        self.bell()
        traceback = Traceback(show_locals=False, width=None)
        self._exit_renderables.append(Segments(self.console.render(traceback, self.console.options)))
        self._close_messages_no_wait()

    # --- between screens --------------------------------------------------------------------------------------------

    def _open(self, page: Screen[None]) -> None:
        """Over what is shown, but not over itself: its key works there, too. A page of one bottle is another page."""
        top = self.screen
        if type(top) is not type(page) or getattr(top, "slug", ""):
            self.push_screen(page)

    def action_palette(self) -> None:
        from app.screens.palette import Palette

        self.push_screen(Palette())

    def action_help(self) -> None:
        from app.screens.help import Help

        self._open(Help())

    def action_doctor(self) -> None:
        from app.screens.doctor import DoctorScreen

        self._open(DoctorScreen())

    def action_usage(self) -> None:
        from app.screens.usage import UsageScreen

        self._open(UsageScreen())

    def action_budgets(self) -> None:
        from app.screens.budgets import BudgetsScreen

        self._open(BudgetsScreen())

    def action_settings(self) -> None:
        from app.screens.settings import SettingsScreen

        self._open(SettingsScreen())

    def action_away(self) -> None:
        from app.screens.report import AwayScreen

        self._open(AwayScreen())

    def action_notices(self) -> None:
        from app.screens.notices import NoticesScreen

        self._open(NoticesScreen())

    def action_search(self) -> None:
        from app.screens.search import SearchScreen

        self.push_screen(SearchScreen())

    def action_secrets(self) -> None:
        from app.screens.secrets import SecretsScreen

        self._open(SecretsScreen())

    def action_set_up(self) -> None:
        from app.screens.set_up import SetUpAgents

        self.push_screen(SetUpAgents())

    def action_themes(self) -> None:
        from app.screens.theme_picker import ThemePicker

        self.push_screen(ThemePicker())

    def main_screen(self) -> MainScreen | None:
        """The screen at the bottom of the stack."""
        from app.screens.main import MainScreen

        bottom = self.screen_stack[0]
        return bottom if isinstance(bottom, MainScreen) else None

    async def run_command(self, identity: str) -> None:
        """Do what a command's key does, as if on its own screen."""
        item = command(identity)
        while item.scope == "main" and len(self.screen_stack) > 1:
            await self.pop_screen()
        await self.run_action(item.action, self if item.scope == "app" else self.screen)

    async def go_to(self, slug: str, *, enter: bool = False) -> None:
        """Back to the main screen, with this bottle selected."""
        while len(self.screen_stack) > 1:
            await self.pop_screen()
        main = self.main_screen()
        if main is not None:
            main.select(slug, enter=enter)

    def action_leave(self) -> None:
        self.exit()

    def action_how_to_leave(self) -> None:
        self.notify("q closes this window; bottles run on")


def main() -> int:
    """Run the TUI until it is left."""
    app = CarboyApp()
    app.run()
    return app.return_code or 0
