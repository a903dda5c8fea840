"""What the operator can do with a bottle beyond its life: a snapshot, going on, a second one from it, the archive; and
what it changed. Each asks the client in a worker, and the operator first where something would be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core import bottles
from app.core.text import printable
from app.screens.room import Working

if TYPE_CHECKING:
    from app.core.model import BottleView


class KeepingActions(Working):
    """Mixed into the main screen, which says which bottle is selected."""

    @property
    def view(self) -> BottleView | None:
        raise NotImplementedError

    def _selected(self) -> BottleView | None:
        view = self.view
        if view is None:
            self.carboy.notify("There is no bottle under the cursor", severity="warning")
        return view

    def action_changes(self) -> None:
        from app.screens.changes import ChangesScreen

        if (view := self._selected()) is not None:
            self.carboy.push_screen(ChangesScreen(view.slug))

    def action_commit(self) -> None:
        if (view := self._selected()) is not None:
            self.carboy.notify(f"{bottles.name(view)}: a snapshot is being taken")
            self.work(f"save {bottles.name(view)}", self._commit(view), group=f"keep {view.slug}")

    async def _commit(self, view: BottleView) -> None:
        self._changed(await self.client.commit(view.slug))
        self.carboy.notify(f"{bottles.name(view)}: its snapshot is taken; v starts a second bottle from it")

    def action_resume(self) -> None:
        from app.screens.launch.going_on import start

        if (view := self._selected()) is None:
            return
        if bottles.live(view):
            self.carboy.notify(f"{bottles.name(view)} is {view.state}: it needs no resuming", severity="warning")
        else:
            start(self.carboy, view.slug, "resume")

    def action_fork(self) -> None:
        from app.screens.launch.going_on import start

        if (view := self._selected()) is not None:
            start(self.carboy, view.slug, "fork")

    def action_archive(self) -> None:
        from app.screens.confirm import Confirm

        if (view := self._selected()) is None:
            return
        ends = ("the running agent: it is stopped, with a snapshot taken before",) if bottles.live(view) else ()
        question = Confirm(
            f"Put {bottles.name(view)} into the archive?",
            "Archive it",
            losses=ends,
            kept=(
                "its files, snapshot and transcript",
                f"the way back: A, or carboy restore {printable(view.slug, 63)}",
            ),
        )
        run = lambda yes: self.work(f"archive {bottles.name(view)}", self._archive(view)) if yes else None  # noqa: E731
        self.carboy.push_screen(question, run)

    async def _archive(self, view: BottleView) -> None:
        with self.carboy.ending(view.slug):
            await self.client.archive(view.slug)
        self.carboy.board.gone(view.slug)
        self.carboy.board_changed(bottles=True)
        self.carboy.notify(f"{bottles.name(view)} is in the archive: A shows it")

    def action_the_archive(self) -> None:
        from app.screens.archive import ArchiveScreen

        self.carboy.push_screen(ArchiveScreen())

    def action_put_by(self) -> None:
        from app.screens.confirm import Confirm

        view = self._selected()
        if view is None:
            return
        if not bottles.live(view):
            self.carboy.notify(f"{bottles.name(view)} is over already", severity="warning")
            return
        question = Confirm(
            f"Save and stop {bottles.name(view)}?",
            "Save and stop it",
            losses=("what its programs hold in memory, and its open connections",),
            kept=("its files, in a snapshot taken while it stands still", "the way back: p goes on with it"),
        )
        run = lambda yes: self.work(f"save {bottles.name(view)}", self._put_by(view)) if yes else None  # noqa: E731
        self.carboy.push_screen(question, run)

    async def _put_by(self, view: BottleView) -> None:
        with self.carboy.ending(view.slug):
            self._changed(await self.client.put_by(view.slug))
        self.carboy.notify(f"{bottles.name(view)} is saved and stopped: p goes on with it")

    def action_purge(self) -> None:
        from app.screens.archive import purge_question

        view = self._selected()
        if view is None:
            return
        if bottles.live(view):
            self.carboy.notify(f"{bottles.name(view)} is {view.state}: stop it first", severity="warning")
            return
        run = lambda yes: self.work(f"remove {bottles.name(view)}", self._purge(view)) if yes else None  # noqa: E731
        self.carboy.push_screen(purge_question(view), run)

    async def _purge(self, view: BottleView) -> None:
        await self.client.purge(view.slug)
        self.carboy.board.gone(view.slug)
        self.carboy.board_changed(bottles=True)
        self.carboy.notify(f"{bottles.name(view)} is gone for good")

    def _changed(self, view: BottleView) -> None:
        self.carboy.board.bottle(view)
        self.carboy.board_changed(bottles=True)
