"""State beyond a session's life: snapshots, resume, fork, archive, restore, purge. Never starts an agent itself: a
resume is a launch that goes on from an `Origin`.
"""

import asyncio
import contextlib
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from app.backends import archives, disk
from app.backends.base import Backend
from app.controller import leftovers, record, saved
from app.controller.backends import Backends
from app.controller.origin import Origin
from app.controller.saved import Saved
from app.controller.session import OnChange, Session
from app.core import quota
from app.core.model import LIVE, BottleView, LaunchRequest
from app.core.slug import numbered
from app.errors import CarboyError, NotFound, NotSupported
from app.paths import Paths, private_folder
from app.tasks import spawn

log = logging.getLogger(__name__)


class Registry(Protocol):
    """The live registry (`app.controller.sessions.Sessions`)."""

    def named(self, slug: str) -> Session: ...
    def known(self, slug: str) -> Session | None: ...
    def views(self) -> list[BottleView]: ...
    def put(self, session: Session) -> None: ...
    def drop(self, slug: str) -> None: ...
    async def stop(self, slug: str) -> BottleView: ...
    async def freeze(self, slug: str) -> BottleView: ...
    async def kill(self, slug: str) -> BottleView: ...


class Keeping:
    def __init__(self, paths: Paths, registry: Registry, backends: Backends, on_change: OnChange) -> None:
        self._paths = paths
        self._registry = registry
        self._backends = backends
        self._on_change = on_change
        self._busy: set[str] = set()

    # --- snapshots ------------------------------------------------------------------------------------------------

    async def commit(self, slug: str) -> BottleView:
        """Take a snapshot of a bottle that runs, or was preserved; it runs on."""
        session = self._registry.named(slug)
        if session.view.state in ("launching", "stopping"):
            raise CarboyError(f"{slug} is {session.view.state}", "Wait a moment", "wrong_state")
        with self._alone(slug):
            async with self._still(session):
                taken = await self._take(session)
            session.show(saved_at=taken.at, saved_as=taken.reference)
            return session.view

    async def put_by(self, slug: str, why: str) -> BottleView:
        """`save_and_stop` where nobody waits for it: one that cannot be saved stays halted."""
        try:
            return await self.save_and_stop(slug, why)
        except (CarboyError, OSError) as error:
            session = self._registry.named(slug)
            if session.view.state != "frozen":
                raise
            log.error("%s could not be saved, and stays frozen: %s", slug, error)
            return session.view

    async def save_and_stop(self, slug: str, why: str) -> BottleView:
        """Halt a bottle, save it, and end it just there: a resume goes on. One that cannot be saved stays halted, and
        the error says why."""
        session = self._registry.named(slug)
        backend = self._backends.named(session.view.backend)
        if session.view.state != "frozen":
            await self._registry.freeze(slug)
        if "commit" not in backend.capabilities:
            raise NotSupported(f"The backend {backend.name} takes no snapshots: {slug} is frozen as it is", "")
        await self.commit(slug)
        session.why = why
        # not stopped: what it would write in its last moments is in no snapshot
        return await self._registry.kill(slug)

    async def _take(self, session: Session) -> Saved:
        state, backend = session.state_folder, self._backends.named(session.view.backend)
        folder = state / saved.FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        mark = f"{session.id}-{secrets.token_hex(3)}"
        former = saved.load(state)
        await asyncio.to_thread(saved.tidy, state, whole=True)
        image, reference = await backend.commit(state, mark)
        stop = threading.Event()
        name = f"files-{mark}.tar.zst"
        held = {name: state / name for name in saved.HELD if (state / name).is_dir()}
        most = session.record.disk_limit or session.record.manifest.bottle.limits.disk or quota.DEFAULT
        packing = spawn(
            asyncio.to_thread(archives.pack, held, folder / name, stop, most), name="pack", on_error=lambda _: None
        )
        try:
            packed = await asyncio.shield(packing)
        except BaseException as error:
            stop.set()
            with contextlib.suppress(Exception):
                await asyncio.wait([packing])
            # a full disk gets its room back; one that was cancelled can go on
            saved.tidy(state, whole=not isinstance(error, OSError | CarboyError))
            if image:
                await backend.discard(state, image)
            raise
        taken = Saved(
            session_id=session.id, at=time.time(), backend=session.view.backend, files=name, parts=packed.parts,
            size=packed.size, image=image, reference=reference,
        )  # fmt: skip
        await asyncio.to_thread(saved.keep, state, taken)
        if former is not None and former.image:
            await backend.discard(state, former.image)
        return taken

    async def on_disk(self, session: Session) -> int:
        """Bytes that it has written outside the project."""
        state, backend = session.state_folder, self._backends.named(session.view.backend)
        own = await asyncio.to_thread(disk.used, [state / name for name in saved.HELD])
        if session.box is not None:
            with contextlib.suppress(CarboyError):  # it ended meanwhile, or its holder is of an older carboy
                own += await session.box.unlinked()
        return own + await backend.layer(state)

    @asynccontextmanager
    async def _still(self, session: Session) -> AsyncIterator[None]:
        """The agent changes nothing meanwhile, where its backend can pause it."""
        box = session.box
        if box is None or session.view.state != "running":
            yield
            return
        paused = False
        with contextlib.suppress(NotSupported):
            await box.pause()
            paused = True
        try:
            yield
        finally:
            if paused and session.view.state == "running":
                with contextlib.suppress(CarboyError):  # it was killed meanwhile
                    await asyncio.shield(box.unpause())

    # --- going on -------------------------------------------------------------------------------------------------

    async def origin(self, request: LaunchRequest, *, launching: bool) -> tuple[LaunchRequest, Origin | None]:
        """A request to resume or fork as the launch that it means."""
        slug = request.resume or request.fork
        if slug is None:
            return request, None
        session = self._registry.named(slug)
        kept = session.record.request
        if kept is None:
            raise CarboyError(f"{slug} was started by an older carboy", "Start it again", "not_resumable")
        if request.resume is not None:
            return _resumed(request, kept, session), await self._resume_from(session, launching=launching)
        if launching and session.live:
            await self.commit(slug)
        taken = await asyncio.to_thread(saved.load, session.state_folder)
        if taken is None and (launching or not session.live):
            raise CarboyError(f"{slug} has no snapshot", f"Take one: carboy commit {slug}", "no_snapshot")
        made = Origin(slug, session.id, session.state_folder, taken, True, session.view.backend, asked=_asked(session))
        found = await self._image(made) if taken is not None else made
        return _forked(request, kept, session), found

    async def _resume_from(self, session: Session, *, launching: bool) -> Origin:
        if session.live:
            raise CarboyError(f"{session.slug} is {session.view.state}", f"carboy attach {session.slug}", "wrong_state")
        if launching and session.slug in self._busy:
            raise CarboyError(f"{session.slug} is being changed", "Wait a moment", "wrong_state")
        taken = await asyncio.to_thread(saved.load, session.state_folder)
        earlier = (*session.record.earlier, session.id)
        made = Origin(
            session.slug, session.id, session.state_folder, taken, False, session.view.backend,
            asked=_asked(session), earlier=earlier,
        )  # fmt: skip
        return await self._image(made, fresh=launching)

    async def _image(self, made: Origin, *, fresh: bool = False) -> Origin:
        """With the engine's part of the state, or a note that it is gone."""
        backend = self._backends.named(made.backend)
        if not backend.uses_images:
            return made
        notes: tuple[str, ...] = ()
        image = ""
        if fresh and not made.fork:
            with contextlib.suppress(CarboyError):  # its container may be gone: then what was saved counts
                image, _ = await backend.commit(made.state, f"{made.session_id}-end")
        if not image and made.saved is not None and made.saved.image:
            if await backend.has_image(made.state, made.saved.image):
                image = made.saved.image
            else:
                notes = ("its saved image is gone: a fresh one is used, with the files of its home",)
        return replace(made, image=image or None, notes=notes)

    # --- archive --------------------------------------------------------------------------------------------------

    async def archive(self, slug: str) -> BottleView:
        """Delete means archive: stop it, with a snapshot taken before, and move its state aside."""
        session = self._registry.named(slug)
        if session.view.state in ("running", "frozen"):
            await self.commit(slug)
        if session.live:
            await self._registry.stop(slug)
        with self._alone(slug):
            session.show(kept="archived")
            await asyncio.to_thread(saved.archive, self._paths, slug, session.id)
            self._registry.drop(slug)
        return session.view

    async def restore(self, slug: str, name: str | None) -> BottleView:
        """Bring an archived session back, to be resumed; under a new name where its own is taken."""
        folder, kept = await asyncio.to_thread(self._archived, slug)
        wanted = name or numbered(slug, self._taken)
        if self._taken(wanted):
            raise CarboyError(f"The name {wanted} is in use", "Choose another", "name_in_use")
        label = kept.view.label if wanted == slug else wanted
        changes = {"slug": wanted, "label": label, "kept": "preserved"}
        renamed = kept.model_copy(update={"view": kept.view.model_copy(update=changes)})
        await asyncio.to_thread(renamed.save, folder)
        private_folder(self._paths.state / "bottles")  # the first one on a machine that it was brought to
        folder.rename(self._paths.session_state(wanted))
        session = Session(record=renamed, paths=self._paths, on_change=self._on_change)
        session.over.set()
        self._registry.put(session)
        self._on_change(session.view)
        return session.view

    async def purge(self, slug: str) -> BottleView:
        """Remove for good what an ended or archived session left: state, container, images."""
        session = self._registry.known(slug)
        if session is not None and session.live:
            raise CarboyError(f"{slug} is {session.view.state}", f"carboy stop {slug}", "wrong_state")
        if session is not None:
            folder, kept = session.state_folder, session.record
        else:
            folder, kept = await asyncio.to_thread(self._archived, slug)
        with self._alone(slug):
            backend = self._backends.named(kept.view.backend)
            await backend.purge(folder, kept.view.session_id)
            await asyncio.to_thread(leftovers.remove_tree, folder)
            if session is not None:
                self._registry.drop(slug)
        with contextlib.suppress(CarboyError):  # images of those that it went on from
            live = frozenset(one.session_id for one in self._registry.views() if one.state in LIVE)
            await backend.cleanup(live, await asyncio.to_thread(saved.kept_ids, self._paths))
        view = kept.view.model_copy(update={"kept": "purged", "saved_at": None})
        self._on_change(view)
        return view

    def _archived(self, slug: str) -> tuple[Path, record.SessionRecord]:
        found = [one for one in saved.archived(self._paths) if one[1].view.slug == slug]
        if not found:
            raise NotFound(f"There is no archived bottle {slug}", "`carboy list archived` shows them", "no_such_bottle")
        return found[-1]

    def _taken(self, slug: str) -> bool:
        return self._registry.known(slug) is not None or self._paths.session_state(slug).exists()

    # --- after a crash --------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """What a resume had set aside: back in its place, or given to the session that goes on from it."""
        for aside in await asyncio.to_thread(saved.waiting, self._paths):
            now = self._registry.known(saved.slug_of(aside))
            if now is not None and now.view.session_id != aside.name.rpartition(".")[2]:
                await self.finish(aside, now.state_folder, self._backends.named(now.view.backend))
                continue
            await self.put_back(aside)

    async def put_back(self, aside: Path) -> None:
        """A resume never came to life: the session that it went on from is as it was."""
        await asyncio.to_thread(saved.put_back, self._paths, aside)
        kept = await asyncio.to_thread(record.load, self._paths.session_state(saved.slug_of(aside)))
        if kept is not None and kept.view.state not in LIVE:
            session = Session(record=kept, paths=self._paths, on_change=self._on_change)
            session.over.set()
            self._registry.put(session)

    async def finish(self, aside: Path, state: Path, backend: Backend) -> None:
        """The resumed session lives: what the former one left beyond it goes."""
        with contextlib.suppress(CarboyError):
            await backend.forget(aside)
        await asyncio.to_thread(saved.finish, aside, state)

    @contextlib.contextmanager
    def _alone(self, slug: str):
        """One of these at a time for each bottle."""
        if slug in self._busy:
            raise CarboyError(f"{slug} is being saved or moved", "Wait a moment", "wrong_state")
        self._busy.add(slug)
        try:
            yield
        finally:
            self._busy.discard(slug)


def _resumed(request: LaunchRequest, kept: LaunchRequest, session: Session) -> LaunchRequest:
    """The former launch with what this client brings (its terminal's size, its secrets) and what the operator had
    chosen for it while it ran."""
    changes = _brought(request) | {"resume": request.resume, "label": session.view.label}
    changes["shutdown"] = session.record.shutdown
    if request.prompt or not kept.headless:
        changes["prompt"] = request.prompt  # the agent has had the former one: its conversation goes on
    return kept.model_copy(update=changes)


def _forked(request: LaunchRequest, kept: LaunchRequest, session: Session) -> LaunchRequest:
    label = request.label or f"{session.view.label} fork"
    changes = _brought(request) | {"fork": request.fork, "label": label, "color": request.color or kept.color}
    if not kept.headless:
        changes["prompt"] = request.prompt
    return kept.model_copy(update=changes)


def _brought(request: LaunchRequest) -> dict[str, object]:
    return {
        "rows": request.rows, "cols": request.cols, "env": request.env, "secrets": request.secrets,
        "confirm": request.confirm,
    }  # fmt: skip


def _asked(session: Session) -> bool:
    return bool(session.view.turns or session.view.spend.requests)
