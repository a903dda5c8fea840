"""Step 1: which agent. A broken file is listed with its reason; any command at all can run in a bottle, too."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.widgets import Input, Static

from app.core.draft import ANY_COMMAND, STARTERS
from app.core.text import printable
from app.screens.launch.bottles import BottlesStep
from app.screens.launch.step import Step
from app.widgets.ink import ink
from app.widgets.key_bar import Key
from app.widgets.picker import Choice, Picker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.widget import Widget

    from app.core.model import AgentEntry
    from app.messages import BoardChanged, BoardReplaced


class AgentStep(Step):
    step = "agent"
    keys: ClassVar[tuple[Key, ...]] = (Key("type", "filters"), Key("↑↓", "move"), Key("↵", "choose"))
    DEFAULT_CSS = """
    AgentStep #command { display: none; border: none; height: 1; background: $raised; padding: 0 1; margin-bottom: 1; }
    AgentStep.-command #command { display: block; }
    AgentStep #ignored { height: auto; color: $asks; padding: 1 0 0 0; }
    """

    def body(self) -> Iterable[Widget]:
        yield Input(placeholder="the command, as you would type it: make nightly", id="command", compact=True)
        yield Picker(picked=self._picked, placeholder="type to filter agents")
        yield Static(id="ignored")

    def on_mount(self) -> None:
        self.query_one(Picker).focus()
        self._load()

    def _load(self) -> None:
        self.work("read the agents", self._read(), group="catalogue", alone=True)

    async def _read(self) -> None:
        catalogue = await self.client.catalogue(self.flow.draft.cwd)
        self.flow.catalogue = catalogue
        anything = Choice(
            ANY_COMMAND, "any command…", detail="run a program of your own in a bottle", mark="$", always=True
        )
        agents = [_choice(item) for item in catalogue.agents] or [_STARTERS]
        self.query_one(Picker).show([*agents, anything])
        warnings = "\n".join(f"▲ {printable(text, 300)}" for text in catalogue.warnings)
        self.query_one("#ignored", Static).update(ink((warnings, "asks")))

    def _set_up(self) -> None:
        from app.screens.set_up import SetUpAgents

        self.app.push_screen(SetUpAgents(), lambda done: self._load() if done else None)

    def on_board_replaced(self, event: BoardReplaced) -> None:
        """Whoever was quicker than the controller gets the agents once it is there."""
        self.complain("")
        self._load()

    def on_board_changed(self, event: BoardChanged) -> None:
        """Manifests are read again as soon as a file changes; what was typed stays."""
        if event.catalogue:
            self.complain("")
            self._load()

    def _picked(self, choice: Choice) -> None:
        if choice.reason:
            self.complain(choice.reason)
            return
        self.complain("")
        if choice.id == STARTERS:
            self._set_up()
            return
        if choice.id == ANY_COMMAND:
            self.add_class("-command")
            self.set_focus(self.query_one("#command", Input))
            return
        self.remove_class("-command")
        self._go(agent=choice.id, command=())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            command = tuple(shlex.split(event.value))
        except ValueError as error:
            self.complain(f"The command cannot be read: {error}. Close the quotes")
            return
        if not command:
            self.complain("Type a command, or press esc")
            return
        self.complain("")
        self._go(agent=None, command=command)

    def _go(self, *, agent: str | None, command: tuple[str, ...]) -> None:
        flow, draft = self.flow, self.flow.draft
        entries = flow.catalogue.agents if flow.catalogue else ()
        default = next((item.bottle for item in entries if item.name == agent and item.bottle), None)
        if (agent, command) != (draft.agent, draft.command):
            draft = replace(draft, bottles=None, confirmed=frozenset())
        flow.draft = replace(draft, agent=agent, command=command, default_bottles=(default,) if default else ())
        self.go_on(BottlesStep(flow))

    def action_close(self) -> None:
        if self.has_class("-command") and self.query_one("#command").has_focus:
            self.remove_class("-command")
            self.query_one(Picker).focus()
            return
        self.flow.forget()
        super().action_close()


_STARTERS = Choice(
    STARTERS,
    "the starter library",
    detail="There are no agents yet: ↵ looks which agent CLIs are here, and sets up an agent for each (carboy init)",
    mark="+",
    tone="asks",
    always=True,
)


def _choice(item: AgentEntry) -> Choice:
    notes = [f"in {item.bottle}"] if item.bottle else []
    notes += [f"{printable(item.provider, 30)}, tried with {printable(item.tested, 20)}"] if item.tested else []
    notes += ["this project's"] if item.origin == "project" else []
    notes += ["to be confirmed"] if not item.confirmed else []
    mark, tone = ("✗", "refused") if item.error else ("⚑", "asks") if not item.confirmed else ("●", "faint")
    return Choice(
        item.name,
        item.name,
        note=" · ".join(notes),
        detail=Step.shorter(item.error, item.file) if item.error else item.description,
        mark=mark,
        tone=tone,
        reason=item.error or "",
    )
