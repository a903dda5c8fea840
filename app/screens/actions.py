"""What the operator can do with the selected bottle, from the main screen's keys and from the palette: each asks the
client in a worker, and asks the operator first where something would be lost."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from app.core import bottles
from app.screens.room import Working

if TYPE_CHECKING:
    from app.core.journal import Entry
    from app.core.model import BottleView
    from app.core.spending import CutoffOrder


class BottleActions(Working):
    """Mixed into the main screen, which says which bottle is selected."""

    @property
    def view(self) -> BottleView | None:
        raise NotImplementedError

    def _live(self) -> BottleView | None:
        view = self.view
        if view is None or not bottles.live(view):
            self.carboy.notify("There is no running bottle under the cursor", severity="warning")
            return None
        return view

    def action_usage(self) -> None:
        from app.screens.usage import UsageScreen

        if self.view is not None:
            self.carboy.push_screen(UsageScreen(self.view.slug))

    def action_new(self) -> None:
        from app.screens.launch.flow import start

        start(self.carboy)

    def action_prompts(self) -> None:
        self.work("read the ready tasks", self._prompts(), group="prompts", alone=True)

    async def _prompts(self) -> None:
        from app.screens.launch.flow import start
        from app.screens.launch.prompts import PromptPicker

        entries = (await self.client.catalogue()).prompts
        self.carboy.push_screen(PromptPicker(entries, lambda entry: start(self.carboy, entry.text)))

    def action_stop(self) -> None:
        from app.screens.confirm import Confirm

        if (view := self._live()) is None:
            return
        question = Confirm(
            f"Stop {bottles.name(view)}?",
            "Stop it",
            losses=("what the agent has not written to disk", "its open connections"),
            kept=_kept(view),
        )
        self.carboy.push_screen(question, lambda yes: self._do("stop", view) if yes else None)

    def action_kill(self) -> None:
        from app.screens.confirm import Confirm

        if (view := self._live()) is None:
            return
        question = Confirm(
            f"Kill {bottles.name(view)} at once?",
            "Kill it",
            losses=("whatever the agent was doing: it gets no time to save", "its open connections"),
            kept=_kept(view),
        )
        self.carboy.push_screen(question, lambda yes: self._do("kill", view) if yes else None)

    def action_freeze(self) -> None:
        if (view := self._live()) is not None:
            self._do("thaw" if view.state == "frozen" else "freeze", view)

    def action_budget(self) -> None:
        from app.screens.budget import BudgetBox

        if (view := self._live()) is not None:
            self.carboy.push_screen(BudgetBox(view))

    def action_cutoff(self) -> None:
        from app.screens.confirm import Confirm

        if (view := self._live()) is None:
            return
        if view.cut == "operator":
            self._do("restore_egress", view)
            return
        if view.cut:
            self.carboy.notify(f"{bottles.name(view)} is cut off by its budget: b raises it", severity="warning")
            return
        question = Confirm(
            f"Cut {bottles.name(view)} off?",
            "Cut it off",
            losses=("its model's answers: requests to the model are refused until you give it back",),
            kept=("the agent, which runs on", "its other hosts", "what is being answered now"),
        )
        self.carboy.push_screen(question, lambda yes: self._do("cutoff", view) if yes else None)

    def action_restart_sidecar(self) -> None:
        if (view := self._live()) is not None:
            self._do("restart_sidecar", view)

    def _do(self, verb: str, view: BottleView) -> None:
        name = {
            "restart_sidecar": "restart the sidecar of",
            "cutoff": "cut off",
            "restore_egress": "give the model back to",
        }.get(verb, verb)
        self.work(f"{name} {bottles.name(view)}", self._done(verb, view), group=f"{verb} {view.slug}", alone=True)

    async def _done(self, verb: str, view: BottleView) -> None:
        client, slug = self.client, view.slug
        calls = {
            "stop": client.stop,
            "kill": client.kill,
            "freeze": client.freeze,
            "thaw": client.thaw,
            "restart_sidecar": client.restart_sidecar,
            "cutoff": lambda name: client.cutoff(name, _order()),
            "restore_egress": lambda name: client.restore_egress(name, _order()),
        }
        with self.carboy.ending(slug) if verb in ("stop", "kill") else contextlib.nullcontext():
            changed = await calls[verb](slug)
        self.carboy.board.bottle(changed)
        self.carboy.board_changed(bottles=True)
        past = {
            "stop": "stopped",
            "kill": "killed",
            "freeze": "frozen",
            "thaw": "thawed",
            "cutoff": "cut off",
            "restore_egress": "may use its model again",
        }
        self.carboy.notify(f"{bottles.name(view)}: {past.get(verb, 'its sidecar is being restarted')}")

    def action_attach(self) -> None:
        from app.screens.attach import AttachScreen

        if (view := self._live()) is not None:
            self.carboy.push_screen(AttachScreen(view))

    def action_egress(self) -> None:
        from app.screens.egress import EgressScreen

        view = self.view
        self.carboy.push_screen(EgressScreen(view.slug if view else ""))

    def action_report(self) -> None:
        from app.screens.report import ReportScreen

        view = self.view
        if view is None:
            self.carboy.notify("There is no bottle under the cursor", severity="warning")
        else:
            self.carboy.push_screen(ReportScreen(view.slug))

    def action_learn(self) -> None:
        from app.screens.learn import LearnScreen

        view = self.view
        if view is None:
            self.carboy.notify("There is no bottle under the cursor", severity="warning")
        else:
            self.carboy.push_screen(LearnScreen(view.slug))

    def action_info(self) -> None:
        from app.screens.bottle import BottleScreen

        view = self.view
        if view is None:
            self.carboy.notify("There is no bottle under the cursor", severity="warning")
        else:
            self.carboy.push_screen(BottleScreen(view))

    def open_story(self, entry: Entry) -> None:
        """One request's whole story, over the screen."""
        from app.screens.story import Story

        self.carboy.push_screen(Story(entry))


def _order() -> CutoffOrder:
    from app.core.spending import CutoffOrder
    from app.screens.answer import who

    return CutoffOrder(by=who())


def _kept(view: BottleView) -> tuple[str, ...]:
    folder = "the project folder as it is" if view.workspace == "mount" else "the project folder, unchanged"
    copied = ("its copy of the project, in the session's state folder",) if view.workspace == "copy" else ()
    return (folder, *copied, "the transcript and the egress log")
