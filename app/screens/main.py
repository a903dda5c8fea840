"""The main screen: bottles, the selected one's terminal and egress log, what waits and what was refused. It draws the
app's board and asks the client for actions; layout changes with the window, and nothing is lost in a small one."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from app.commands import footer, key_label, scoped
from app.core import bottles, trail
from app.core.units import count, plural
from app.screens.actions import BottleActions
from app.screens.approvals import ApprovalActions
from app.screens.keeping import KeepingActions
from app.screens.room import bindings, reconnecting
from app.widgets.approvals_panel import ApprovalsPanel
from app.widgets.bottle_list import BottleList
from app.widgets.budget_panel import BudgetPanel
from app.widgets.egress_panel import FILTER_KEYS, EgressPanel
from app.widgets.event_log import EventLog
from app.widgets.ink import ink, lines
from app.widgets.key_bar import Key, KeyBar
from app.widgets.option_list import Options
from app.widgets.side_panels import RefusalsPanel, TotalsPanel
from app.widgets.status_bar import Overview, StatusBar
from app.widgets.tab_strip import TabStrip

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult
    from textual.content import Content
    from textual.timer import Timer

    from app.core.model import BottleView
    from app.messages import BoardChanged, BoardReplaced, LinkChanged
    from app.screens.session import Session

PANELS = ("terminal", "egress", "bottles", "side")
WIDE, MEDIUM, TALL = 132, 100, 36
"""From these columns on there are three panels side by side, or two; from this height on two hold the side panels."""
SMALLEST = (60, 15)
"""Columns and rows below which nothing sensible can be drawn."""
GAUGES = 0.4
"""Seconds between redraws of counts and panels while events stream in (style.md: gauges at 2 to 4 Hz)."""
SETTLE = 0.08
"""Seconds that the cursor rests on a bottle before its terminal is attached: running through the list attaches none."""


SCROLL, NEXT_PANEL = Key("↑↓", "scroll"), Key("tab", "next panel")
"""Offered where the panels beside the terminal are higher than the window."""

CARD_KEYS = (
    Key("↵", "look", "focused.answer('open')"),
    Key("a", "allow", "focused.answer('allow')"),
    Key("r", "reject", "focused.answer('reject')"),
    Key("e", "edit", "focused.answer('edit')"),
    Key("A", "allow all alike", "focused.answer('batch')"),
    Key("l", "its request", "focused.answer('log')"),
    Key("?", "keys", "app.help"),
)
"""What the keys are while a card has the keyboard."""

ARRANGEMENTS = frozenset({"-small", "-tabs", "-wide", "-medium", "-tall", *(f"-tab-{panel}" for panel in PANELS)})


def arrangement(width: int, height: int, tab: str, *, zoomed: bool = False) -> frozenset[str]:
    """Classes of the screen: which of its panels there is room for, and which one has the window to itself."""
    tabs = zoomed or width < MEDIUM or height < 24
    wide = not tabs and width >= WIDE
    on = {
        "-small": width < SMALLEST[0] or height < SMALLEST[1],
        "-tabs": tabs,
        "-wide": wide,
        "-medium": not tabs and not wide,
        "-tall": height >= TALL,
        f"-tab-{tab}": True,
    }
    return frozenset(name for name, is_on in on.items() if is_on)


class MainScreen(BottleActions, KeepingActions, ApprovalActions, Screen[None]):
    """`slug` is the selected bottle's, empty without one."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(*scoped("main", "app"))
    AUTO_FOCUS = "BottleList"

    def __init__(self, size: tuple[int, int] = (0, 0)) -> None:
        """`size` is the window's, where it is known before the first layout: nothing is drawn twice then."""
        super().__init__(classes=" ".join(arrangement(*size, "terminal")))
        self.slug = ""
        self.tab = "terminal"
        self.zoomed = False
        self._session: Session | None = None
        self._attaching = False
        self._settling: Timer | None = None
        self._enter_when_ready = ""
        self._gauges_due = False

    def compose(self) -> ComposeResult:
        yield StatusBar()
        yield Static(id="banner")
        yield TabStrip(PANELS)
        with Container(id="body"):
            yield BottleList(id="bottles")
            with Vertical(id="centre"):
                with Vertical(id="terminal"):
                    yield Static(id="welcome")
                yield EgressPanel(id="egress")
            with VerticalScroll(id="side", can_focus=False):
                yield ApprovalsPanel(id="approvals", classes="panel")
                yield BudgetPanel(id="budget", classes="panel")
                yield RefusalsPanel(id="refusals", classes="panel")
                yield TotalsPanel(id="totals", classes="panel")
        yield KeyBar()
        yield Static(id="too-small")

    def on_mount(self) -> None:
        self.query_one("#bottles").border_title = ink(("Bottles", "bold"))
        self._arrange()
        self._draw_all()
        self.set_interval(1.0, self._tick)

    # --- selection --------------------------------------------------------------------------------------------------

    @property
    def view(self) -> BottleView | None:
        """The selected bottle."""
        return self.carboy.board.views.get(self.slug)

    def select(self, slug: str, *, enter: bool = False) -> None:
        """Show a bottle, and give its terminal the keyboard once it is there."""
        self._enter_when_ready = slug if enter else ""
        self._draw_all()
        self.query_one(BottleList).select(slug)
        if enter and self.slug == slug:
            self._enter()

    def on_bottle_list_selected(self, event: BottleList.Selected) -> None:
        self.slug = event.slug
        self.query_one(EgressPanel).show(event.slug, self.carboy.board.entries(event.slug) if event.slug else ())
        self._draw_selected()
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLE, self._settle)

    def _settle(self) -> None:
        """Attach the terminal of the bottle that the cursor rests on."""
        if not self._attaching and self._attached() != self._resting():
            self._attaching = True
            self.work("show the terminal", self._show_session(), group="session")

    def _attached(self) -> str | None:
        """The session whose terminal is shown."""
        return self._session.view.session_id if self._session is not None else None

    def _resting(self) -> str | None:
        """The session of the bottle that the cursor rests on."""
        return self.view.session_id if self.view is not None else None

    async def _show_session(self) -> None:
        """Until the terminal is the one that the cursor rests on, wherever it went meanwhile.

        One worker does it, and none is cancelled for the next: cancelling one that awaits a removal cancels the message
        pumps of what it removes, and with them the app's own, which awaits them too.
        """
        from app.screens.session import Session

        try:
            while self._attached() != self._resting():
                if self._session is not None:
                    old, self._session = self._session, None
                    await old.remove()
                view = self.view
                self.query_one("#welcome").display = view is None
                if view is not None:
                    self._session = Session(view)
                    await self.query_one("#terminal").mount(self._session)
                    if self._enter_when_ready == view.slug:
                        self._enter()
        finally:
            self._attaching = False

    def _enter(self) -> None:
        if self._session is None or self._session.view.slug != self.slug:
            self._enter_when_ready = self.slug
        elif self._session.focus_terminal():
            self._enter_when_ready = ""
            self._show_tab("terminal")

    def on_bottle_list_entered(self, event: BottleList.Entered) -> None:
        self.action_focus_terminal()

    # --- what the app tells -----------------------------------------------------------------------------------------

    def on_board_replaced(self, event: BoardReplaced) -> None:
        self._draw_all()
        self.query_one(EgressPanel).show(self.slug, self.carboy.board.entries(self.slug) if self.slug else ())
        self._settle()

    def on_board_changed(self, event: BoardChanged) -> None:
        if event.entries:
            self.query_one(EgressPanel).extend(event.entries)
        if event.bottles:
            self._draw_all()
            self._settle()
        elif not self._gauges_due:
            self._gauges_due = True
            self.set_timer(GAUGES, self._draw_gauges)

    def _draw_gauges(self) -> None:
        self._gauges_due = False
        self._draw_selected()
        self._draw_status()

    def on_link_changed(self, event: LinkChanged) -> None:
        banner = self.query_one("#banner", Static)
        banner.display = event.link == "lost"
        banner.update(reconnecting(self.carboy.link_text))
        self._draw_status()
        self._draw_welcome()

    # --- drawing ----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Clocks move on."""
        self.query_one(BottleList).show(self.carboy.board.ordered(), self.carboy.clock())
        self._draw_selected()

    def _draw_all(self) -> None:
        self.query_one(BottleList).show(self.carboy.board.ordered(), self.carboy.clock())
        self._draw_selected()
        self._draw_status()
        self._draw_welcome()

    def _draw_selected(self) -> None:
        view, board, now = self.view, self.carboy.board, self.carboy.clock()
        tally = board.tally(self.slug)
        self.query_one(TotalsPanel).draw(view, tally, now)
        self.query_one(BudgetPanel).show(view, board.minutes(self.slug, now))
        self.query_one(RefusalsPanel).show(tuple(reversed(tally.refusals.values())))
        self.query_one(ApprovalsPanel).show(self.carboy.waiting, now)
        frame = self.query_one("#terminal")
        frame.border_title = ink(("Terminal", "bold")) if view is None else _frame_title(view, now, frame.size.width)
        if view is not None and self._session is not None and self._session.view.session_id == view.session_id:
            self._session.update_view(view)
            if self._enter_when_ready == view.slug:
                self._enter()
        self._draw_keys()

    def _draw_status(self) -> None:
        app = self.carboy
        views, waiting = list(app.board.views.values()), app.waiting
        refused = sum(view.refused for view in views)
        requests = refused + sum(view.allowed for view in views)
        overview = Overview(
            bottles=sum(map(bottles.live, views)),
            working=sum(map(bottles.works, views)),
            approvals=len(waiting),
            requests=f"{count(requests)} {plural('request', requests)}" if requests else "",
            refused=refused,
            unread=app.unread,
            tokens=trail.headline(app.board.totals)[0],
            cost=trail.headline(app.board.totals)[1],
            window=trail.window(app.board.totals),
            sidecars=bottles.sidecars(views),
            link={"connected": "", "connecting": "connecting", "lost": "reconnecting"}[app.link],
        )
        self.query_one(StatusBar).show(overview)
        marks = {"side": f"⚑{len(waiting)}" if waiting else "", "bottles": str(len(views)) if views else ""}
        self.query_one(TabStrip).show(self.tab, marks)

    def _draw_welcome(self) -> None:
        self.query_one("#welcome", Static).update(_welcome(self.carboy.link == "connected"))

    def _draw_keys(self) -> None:
        leader = key_label(self.carboy.leader)
        if self._in_terminal():
            leaves = Key(leader, "leaves the terminal")
            asks = [Key(f"{leader} y", "answers what waits")] if self.carboy.waiting else []
            if self._looks_back():
                self.query_one(KeyBar).show([Key("esc", "returns"), Key("↑↓ pgup pgdn", "look back"), leaves])
            else:
                live = self.view is not None and bottles.live(self.view)
                rest = "every other key is the agent's" if live else "its bottle is over: nobody hears other keys"
                self.query_one(KeyBar).show([*asks, leaves, Key("", rest)])
            return
        if self.query_one(EgressPanel).editing:
            self.query_one(KeyBar).show(FILTER_KEYS)
            return
        on_card = self.focused is self.approvals and self.approvals.chosen is not None
        keys = list(CARD_KEYS) if on_card else self._own_keys()
        if self._has_focus("side") and self.query_one("#side").max_scroll_y:
            keys.insert(1, SCROLL if self.focused is self.query_one(TotalsPanel) else NEXT_PANEL)
        self.query_one(KeyBar).show(keys)

    def _own_keys(self) -> list[Key]:
        """The screen's, of which some are for a bottle."""
        view = self.view
        offered = {"", "bottle", "live" if bottles.live(view) else "over"} if view is not None else {""}
        keys = [
            Key(key_label(item.key), item.short, f"screen.{item.action}" if item.scope == "main" else item.action)
            for item in footer("main", "app")
            if item.needs in offered
        ]
        if self._row_opens():
            keys = [Key("↵", "look"), *(key for key in keys if key.key != "↵")]
        return keys

    def _row_opens(self) -> bool:
        """Whether enter opens a card, a refusal or a request: the focused list takes it before the screen does."""
        focused = self.focused
        if isinstance(focused, Options) and not isinstance(focused, BottleList):
            return focused.highlighted is not None
        return isinstance(focused, EventLog)

    # --- layout -----------------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        if self._in_terminal():
            self.tab = "terminal"  # what is typed stays the agent's where the window has room for one panel alone
        self._arrange()
        self.call_after_refresh(self._keep_in_sight)

    def _keep_in_sight(self) -> None:
        """What has the focus, where its column is lower now than its panels."""
        if self.focused is not None and self._has_focus("side"):
            self.focused.scroll_visible(animate=False)

    def _arrange(self) -> None:
        width, height = self.app.size
        wanted = arrangement(width, height, self.tab, zoomed=self.zoomed)
        self.update_classes({name: name in wanted for name in ARRANGEMENTS})
        text = f"{width}×{height} is too small: carboy needs {SMALLEST[0]}×{SMALLEST[1]}"
        self.query_one("#too-small", Static).update(ink((text, "asks")))

    def _show_tab(self, name: str) -> None:
        self.tab = name
        self._arrange()
        self._draw_status()

    def on_tab_strip_chosen(self, event: TabStrip.Chosen) -> None:
        self.action_panel(event.name)

    def action_panel(self, name: str) -> None:
        """Show a panel, and move into it."""
        self._show_tab(name)
        if name == "terminal":
            if self.view is not None:
                self._enter()
        elif name == "egress":
            self.query_one(EgressPanel).log_view.focus()
        else:
            self.query_one({"bottles": "#bottles", "side": "#approvals"}[name]).focus()

    def action_zoom(self) -> None:
        """The focused panel takes the whole window, or gives it back."""
        self.zoomed = not self.zoomed
        if self.zoomed:
            self.tab = next((name for name in PANELS if self._has_focus(name)), "terminal")
        self._arrange()

    def _has_focus(self, panel: str) -> bool:
        focused = self.focused
        return focused is not None and self.query_one(f"#{panel}") in (focused, *focused.ancestors)

    def _in_terminal(self) -> bool:
        return self._session is not None and self._session.pane is not None and self.focused is self._session.pane

    def _looks_back(self) -> bool:
        return self._session is not None and self._session.pane is not None and self._session.pane.browsing

    # --- focus and keys ---------------------------------------------------------------------------------------------

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self._draw_keys()
        self.call_after_refresh(self._draw_keys)  # whether its column scrolls is known by then

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        self._draw_keys()

    def return_to_terminal(self) -> None:
        self._enter()

    def take_leader(self) -> bool:
        """Whose the next keys are changes at once; False where a field may have a use for it."""
        if self._in_terminal():
            self.left_terminal_at = monotonic()
            self.set_focus(None if self.has_class("-tabs") else self.query_one(BottleList))
            return True
        return not self.query_one(EgressPanel).editing and self._send_leader()

    def _send_leader(self) -> bool:
        """The leader, pressed again after it left the terminal, goes through to the agent, as in tmux or telnet."""
        pane = self._session.pane if self._session is not None else None
        if pane is None:
            return False
        pane.call_later(pane.send_leader)  # behind what was typed before
        self._enter()
        return True

    def on_key(self, event: events.Key) -> None:
        if event.key == self.carboy.leader and self._send_leader():
            event.stop()

    def on_event_log_opened(self, event: EventLog.Opened) -> None:
        self.open_story(event.entry)

    def on_refusals_panel_opened(self, event: RefusalsPanel.Opened) -> None:
        self.open_story(event.entry)

    def action_focus_terminal(self) -> None:
        view = self.view
        if view is None:
            return
        if bottles.live(view):
            self._enter()
        else:
            self.notify(f"{bottles.name(view)} has ended: there is nobody to type to")

    def action_history(self) -> None:
        """Look back in the terminal; escape returns to the present."""
        pane = self._session.pane if self._session is not None else None
        if pane is not None:
            self._show_tab("terminal")
            pane.browsing = True
            self.watch(pane, "browsing", self._draw_keys, init=False)
            pane.focus()

    def action_filter(self) -> None:
        self._show_tab("egress")
        self.query_one(EgressPanel).edit_filter()

    def action_pause(self) -> None:
        self.query_one(EgressPanel).log_view.toggle_following()

    def action_approvals(self) -> None:
        self.action_panel("side")


def _frame_title(view: BottleView, now: float, width: int) -> Content:
    """The label first, how long it runs last; what lies between gives way."""
    color = f"bottle-{view.color}" if view.color else "accent"
    facts = " · ".join(part for part in (view.provider, bottles.lineage(view), bottles.where(view)) if part)
    tail = ink((" ─ ", "faint"), (bottles.running_time(view, now), "soft"))
    head = ink((bottles.title(view), f"bold {color}")).truncate(max(8, width - 8 - tail.cell_length), ellipsis=True)
    room = max(0, width - 8 - head.cell_length - tail.cell_length)
    middle = ink((f" ─ {facts}", "faint")).truncate(room, ellipsis=True) if room > 8 else ink()
    return head + middle + tail


def _welcome(connected: bool) -> Content:
    if not connected:
        return ink(("connecting…", "faint"))
    rows = (
        ("n", "starts an agent in a bottle: nothing but what you allow leaves it"),
        (":", "finds any command"),
        ("?", "shows the keys"),
    )
    head = [ink(("No bottle yet", "bold ink")), ink()]
    return lines(head + [ink((f"{key}  ", "bold accent"), (text, "soft")) for key, text in rows])
