"""Step 3: what to do, and under what name. A name in use is asked for again, saying so; all of it may stay empty."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static, TextArea

from app.core import amounts
from app.core.draft import AUTO, label_problem
from app.core.text import printable
from app.screens.launch.step import Step
from app.widgets.ink import ink, lines
from app.widgets.key_bar import Key
from app.widgets.option_strip import OptionStrip
from sidecar.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.widget import Widget

    from app.core.model import BackendReport, PromptEntry

COLORS = ("none", "red", "green", "yellow", "blue", "magenta")
SHUTDOWNS = {
    "pause and ask": "ask",
    "cut off": "cutoff",
    "freeze": "freeze",
    "kill": "kill",
    "as its files say": "",
}


ALONE = {"as its files say": "", "wait for me": "park", "go on without it": "reject", "stop": "stop"}
"""What it does while nobody answers (`LaunchRequest.unattended`)."""


class Task(TextArea):
    """Tab and escape belong to the step."""

    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, text: str) -> None:
        super().__init__(
            text, id="task", classes="panel", tab_behavior="focus", soft_wrap=True, show_line_numbers=False
        )


class TaskStep(Step):
    step = "task"
    keys: ClassVar[tuple[Key, ...]] = (
        Key("tab", "next field"),
        Key("← →", "choose"),
        Key("ctrl+l", "ready tasks", "screen.library"),
        Key("ctrl+s", "preflight", "screen.next"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+l", "library", "Ready tasks", show=False),
        Binding("ctrl+s,ctrl+enter", "next", "Preflight", show=False),
    ]
    AUTO_FOCUS = "#task"
    DEFAULT_CSS = """
    TaskStep VerticalScroll { height: 1fr; }
    TaskStep #task { height: 8; background: $background; }
    TaskStep .field { height: 1; color: $faint; margin-top: 1; }
    TaskStep Input { height: 1; border: none; background: $raised; padding: 0 1; }
    TaskStep Input:focus { border: none; background: $cursor; background-tint: $background 0%; }
    TaskStep #models { height: auto; max-height: 3; padding: 0 1; color: $faint; }
    TaskStep #backends-broken { height: auto; padding: 0 1; }
    TaskStep .what { height: auto; color: $soft; margin-bottom: 1; }
    """

    def body(self) -> Iterable[Widget]:
        draft = self.flow.draft
        order, folder = printable(" + ".join(draft.chosen), 200), printable(draft.cwd, 400)
        what = Static(
            ink((draft.what, "bold ink"), (f" in {order}", "soft"), (f"   {folder}", "faint")), classes="what"
        )
        task = Task(draft.prompt)
        task.border_title = ink(("Task", "bold"), (" optional: the first thing that the agent is told", "faint"))
        colors = OptionStrip(COLORS, tones={name: f"bottle-{name}" for name in COLORS[1:]}, id="color")
        colors.choose(draft.color or "none")
        shutdowns = OptionStrip(tuple(SHUTDOWNS), id="shutdown")
        shutdowns.choose(next(word for word, policy in SHUTDOWNS.items() if policy == draft.shutdown))
        away = OptionStrip(tuple(ALONE), id="unattended")
        away.choose(next(word for word, chosen in ALONE.items() if chosen == draft.unattended))
        backends = OptionStrip(tuple(dict.fromkeys((AUTO, draft.backend or AUTO))), id="backend")
        backends.choose(draft.backend or AUTO)
        yield VerticalScroll(
            what,
            task,
            Static("Name", classes="field"),
            Input(draft.label, placeholder="from the agent's name", id="label", compact=True),
            Static("Colour", classes="field"),
            colors,
            Static("Model", classes="field"),
            Input(draft.model, placeholder="the provider's default", id="model", compact=True),
            Static(id="models"),
            Static("Budget", classes="field"),
            Input(draft.budget, placeholder="none of its own; 500k, $5, or claude=500k", id="budget", compact=True),
            Static("A used up budget", classes="field"),
            shutdowns,
            Static("What asks you while you are away", classes="field"),
            away,
            Static("Backend", classes="field"),
            backends,
            Static(id="backends-broken"),
            can_focus=False,
        )

    def on_mount(self) -> None:
        self._complain_of_name()
        self._offer()
        if not self.flow.backends:
            self.work("ask which backends there are", self._look(), group="backends", alone=True)
        self.work("ask which models there are", self._ask_models(), group="models", alone=True)

    async def _ask_models(self) -> None:
        """Names to choose from: they complete what is typed, and are shown below it."""
        found = await self.client.models(self.flow.request())
        given = {name: Secret(os.environ[name]) for name in found.wants_env if os.environ.get(name)}
        if given:
            found = await self.client.models(self.flow.request().model_copy(update={"env": given}))
        names = [printable(name, 100) for name in found.models]
        field = self.query_one("#model", Input)
        field.suggester = SuggestFromList(names, case_sensitive=False)
        if found.chosen:
            field.placeholder = f"{printable(found.chosen, 60)} (the bottle's)"
        source = "built in" if found.source == "built-in" else "the vendor's"
        tested = f"{printable(found.title, 40)}, tried {found.tested}: " if found.tested else ""
        shown = f"{tested}{source}: {', '.join(names)}" if names else ""
        self.query_one("#models", Static).update(ink((printable(shown, 400), "faint")))

    async def _look(self) -> None:
        self.flow.backends = (await self.client.doctor()).backends
        self._offer()

    def _offer(self) -> None:
        """The backends that exist; those that do not work here with the reason."""
        found = self.flow.backends
        if not found:
            return
        broken = [report for report in found if not report.works]
        self.query_one("#backend", OptionStrip).offer(
            (AUTO, *(report.name for report in found)), {report.name for report in broken}
        )
        why = [ink((f"✗ {printable(report.name, 30)}: {_why(report)}", "faint")) for report in broken]
        self.query_one("#backends-broken", Static).update(lines(why))

    def on_screen_resume(self) -> None:
        self._complain_of_name()

    def _complain_of_name(self) -> None:
        """Ask for the name again where a later step found it taken."""
        if self.flow.name_error:
            self.complain(self.flow.name_error)
            self.flow.name_error = ""
            self.query_one("#label", Input).focus()

    def _collect(self) -> None:
        color, backend = self.query_one("#color", OptionStrip).value, self.query_one("#backend", OptionStrip).value
        self.flow.draft = replace(
            self.flow.draft,
            prompt=self.query_one("#task", TextArea).text,
            label=self.query_one("#label", Input).value,
            model=self.query_one("#model", Input).value,
            budget=self.query_one("#budget", Input).value,
            shutdown=SHUTDOWNS[self.query_one("#shutdown", OptionStrip).value],
            unattended=ALONE[self.query_one("#unattended", OptionStrip).value],
            color="" if color == "none" else color,
            backend="" if backend == AUTO else backend,
        )

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "label":
            self.complain(label_problem(event.value, self.carboy.board.views))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.action_next()

    def action_library(self) -> None:
        from app.screens.launch.prompts import PromptPicker

        entries = self.flow.catalogue.prompts if self.flow.catalogue else ()
        self.app.push_screen(PromptPicker(entries, self._take))

    def _take(self, entry: PromptEntry) -> None:
        """A ready task, above what was typed: nothing that somebody wrote is lost."""
        field = self.query_one("#task", TextArea)
        field.text = f"{entry.text}\n\n{field.text}".rstrip()
        field.focus()

    def action_next(self) -> None:
        from app.screens.launch.preflight import PreflightStep

        self._collect()
        problem = label_problem(self.flow.draft.label, self.carboy.board.views)
        if problem:
            self.complain(problem)
            self.query_one("#label", Input).focus()
            return
        chosen = next((report for report in self.flow.backends if report.name == self.flow.draft.backend), None)
        if chosen is not None and not chosen.works:
            self.complain(f"{printable(chosen.name, 30)} does not work here: {_why(chosen)}")
            self.query_one("#backend", OptionStrip).focus()
            return
        wrong = _budget_problem(self.flow.draft.budget)
        if wrong:
            self.complain(wrong)
            self.query_one("#budget", Input).focus()
            return
        self.complain("")
        self.go_on(PreflightStep(self.flow))

    def action_close(self) -> None:
        self._collect()
        super().action_close()


def _budget_problem(text: str) -> str:
    """Why this amount cannot be one; empty for none, and for a good one."""
    amount = text.partition("=")[2] if "=" in text else text
    if not amount.strip():
        return "" if not text.strip() else "Write an amount after the =, such as claude=500k"
    try:
        amounts.budget(amount)
    except ValueError as error:
        return printable(str(error), 200)
    return ""


def _why(report: BackendReport) -> str:
    """Why a backend does not work, and how to mend it."""
    return printable(" → ".join(text for text in (report.reason or "it does not work", report.fix) if text), 300)
