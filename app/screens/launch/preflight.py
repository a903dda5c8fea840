"""Step 4: everything that the launch would make, where each value comes from, what is missing. Missing secrets are
typed here, masked; a project's own agent is confirmed here, once for its content."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Input, Static

from app.core.text import printable, printable_lines
from app.screens.launch.report import lines_of
from app.screens.launch.step import Step
from app.widgets.ink import Pressable, ink, lines, pressable
from app.widgets.key_bar import Key, KeyBar
from app.widgets.masked import Masked
from app.widgets.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.widget import Widget

    from app.core.model import Preflight
    from app.screens.launch.flow import Flow


_AGAIN, _BACK = Key("r", "look again", "screen.again"), Key("esc", "back", "screen.close")


class Confirmation(Pressable, Static):
    """The project's agent, as it would be told to the CLI, and the key that accepts it."""


class PreflightStep(Step):
    step = "preflight"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,ctrl+s", "start", "Start", show=False),
        Binding("c", "confirm", "Confirm the project's agent", show=False),
        Binding("r", "again", "Look again", show=False),
        Binding("ctrl+k", "keep", "Keep them in the keyring", show=False, priority=True),
    ]
    keys: ClassVar[tuple[Key, ...]] = (Key("", "looking…"),)
    AUTO_FOCUS = "VerticalScroll"
    DEFAULT_CSS = """
    PreflightStep #asked { height: auto; display: none; border: round $asks; padding: 0 1; margin-bottom: 1; }
    PreflightStep #asked.-shown { display: block; }
    PreflightStep Confirmation {
        height: auto; display: none; border: round $asks; padding: 0 1; margin-bottom: 1; border-title-color: $asks;
    }
    PreflightStep Confirmation.-shown { display: block; }
    PreflightStep VerticalScroll { height: 1fr; }
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow)
        self.preflight: Preflight | None = None
        self._seen = False
        """Whether the newest preflight is on the screen: what is pressed before that starts and confirms nothing."""
        self._asked: tuple[str, ...] = ()
        self._kept = False

    def body(self) -> Iterable[Widget]:
        yield Vertical(id="asked")
        yield Confirmation()
        yield VerticalScroll(Rows([ink(("looking…", "faint"))], id="report"))

    def on_mount(self) -> None:
        self.action_again()

    def action_again(self) -> None:
        """Ask the controller what this launch would make, with what is known by now."""
        self.complain("")
        self._looking()
        self.work("look at the launch", self._look(), group="preflight", alone=True)

    def _looking(self) -> None:
        self._seen = False
        self.query_one(KeyBar).show([*self.keys, _BACK])

    async def _look(self) -> None:
        self._looking()
        found = await self.client.preflight(self.flow.request(self.preflight))
        if set(found.wants_env) - set(self.preflight.wants_env if self.preflight else ()):
            found = await self.client.preflight(self.flow.request(found))
        self.preflight = found
        await self._ask(found)
        self._show(found)
        self.call_after_refresh(self._drawn, found)

    def failed(self, what: str, error: Exception) -> None:
        super().failed(what, error)
        self.query_one(KeyBar).show([_AGAIN, _BACK])

    def _show(self, found: Preflight) -> None:
        self.query_one("#report", Rows).show(lines_of(found))
        asked = self.query_one(Confirmation)
        pending = [text for key, text in found.confirm.items() if key not in self.flow.draft.confirmed]
        asked.set_class(bool(pending), "-shown")
        if pending:
            asked.border_title = ink(("This project brings its own agent. Read it", "bold"))
            accept = pressable(
                "screen.confirm", ("c", "bold accent"), (" I have read it; use it as long as it stays so", "ink")
            )
            asked.update(lines([*(ink((printable_lines(text, 3000), "soft")) for text in pending), ink(), accept]))

    def _drawn(self, found: Preflight) -> None:
        """It is on the screen: from here on it can be answered."""
        if found is not self.preflight:
            return
        self._seen = True
        pending = set(found.confirm) - self.flow.draft.confirmed
        ready = not found.problems and not pending and not self._asked
        first = (
            Key("↵", "start", "screen.start") if ready else Key("c", "confirm", "screen.confirm") if pending else None
        )
        keys = [first] if first else [Key("", "not ready: see ✗ above")]
        self.query_one(KeyBar).show([*keys, _AGAIN, _BACK])

    async def _ask(self, found: Preflight) -> None:
        """Fields for what is missing; those that are there already keep what was typed."""
        missing = {
            need.name: f"{need.name}, used by {need.used_by}" for need in found.secrets if need.source == "missing"
        }
        missing |= {name: text for name, text in found.wants_prompt.items() if not self.flow.typed.get(name)}
        if tuple(missing) == self._asked:
            return
        self._asked = tuple(missing)
        box = self.query_one("#asked")
        box.remove_children()  # not awaited: this worker may be cancelled, and the removal with it
        box.set_class(bool(missing), "-shown")
        if missing:
            box.border_title = ink(
                ("Secrets", "bold asks"), (" used for this launch; never shown to the agent", "faint")
            )
            self._say_kept()
            fields = [Masked(name, text) for name, text in missing.items()]
            await box.mount_all(fields)
            fields[0].focus()
        else:
            self.query_one(VerticalScroll).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The last field's enter looks again with everything that was typed."""
        fields = list(self.query(Masked))
        empty = next((field for field in fields if not field.value), None)
        if empty is not None:
            empty.focus()
            return
        typed = {field.secret: field.value for field in fields}
        if self._kept:
            self.complain("")
            self.work("keep them in the keyring", self._keep(typed), group="preflight", alone=True)
        else:
            self.flow.typed |= typed
            self.action_again()

    def action_keep(self) -> None:
        """Whether what is typed goes into the keyring, for the next launch too."""
        self._kept = not self._kept
        self._say_kept()

    def _say_kept(self) -> None:
        words = ("●", "bold accent", "kept in the keyring") if self._kept else ("○", "faint", "for this launch alone")
        glyph, tone, text = words
        self.query_one("#asked").border_subtitle = ink((f"ctrl+k {glyph} {text}", tone))

    async def _keep(self, typed: dict[str, str]) -> None:
        """Secrets go to the keyring; answers to a bottle file's questions are of this launch alone."""
        from sidecar.secret import Secret

        needed = {need.name for need in (self.preflight.secrets if self.preflight else ())}
        for name, value in typed.items():
            if name in needed:
                await self.client.set_secret(name, Secret(value))
            else:
                self.flow.typed[name] = value
        await self._look()

    def action_confirm(self) -> None:
        found = self.preflight
        if found is not None and found.confirm and self._seen:
            self.flow.draft = replace(self.flow.draft, confirmed=self.flow.draft.confirmed | set(found.confirm))
            self.action_again()

    def action_start(self) -> None:
        from app.screens.launch.progress import StartStep

        found = self.preflight
        if found is None or not self._seen:
            return
        if set(found.confirm) - self.flow.draft.confirmed:
            self.complain("Read this project's agent, then press c to use it")
        elif self._asked:
            self.complain(f"Type {', '.join(printable(name, 60) for name in self._asked)} first")
            self.query(Masked).first().focus()
        elif found.problems:
            self.complain(printable(found.problems[0], 600))
        else:
            self.go_on(StartStep(self.flow, found))
