"""Live reload: watches the manifest folders and says when something in them has changed.

It hands over a fresh Catalogue of the operator's folders; who shows a project's agents too asks for the catalogue of
that folder then. It must never let a broken file, a vanished folder or an exhausted kernel limit end the watching.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from watchfiles import awatch

from app.core.model import Catalogue
from app.manifests.catalogue import load_catalogue
from app.manifests.project import check_project
from app.paths import Paths, private_folder
from app.tasks import spawn

log = logging.getLogger(__name__)

DEBOUNCE_MS = 1000
"""An editor's save is up to four events (temp file, rename, chmod); a `git checkout` is many."""
STEP_MS = 200
"""A change is told when it has been quiet for this long; the watching thread wakes this often to see whether to end."""
LOOK_AGAIN_S = 30.0
"""A look without an event, for what the kernel may lose (a full queue, a network file system)."""
MAX_PROJECTS = 32
"""The projects whose agents are watched; the one named longest ago makes room."""

Signature = frozenset[tuple[str, int, int, int]]


class Watcher:
    """`on_change` is called on the event loop with the operator's catalogue after every real change."""

    def __init__(self, paths: Paths, on_change: Callable[[Catalogue], None]) -> None:
        self._paths = paths
        self._on_change = on_change
        self._projects: dict[Path, None] = {}
        self._stopping = False
        self._round = asyncio.Event()
        self._seen: Signature = frozenset()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch. Makes the config folder, so that there is something to watch."""
        await asyncio.to_thread(private_folder, self._paths.config)
        self._seen = await asyncio.to_thread(self._signature)
        self._task = spawn(self._run(), name="manifest watcher")

    async def stop(self) -> None:
        """End, and wait until the watching thread is gone."""
        self._stopping = True
        self._round.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def add_project(self, cwd: Path) -> None:
        """Watch the agents of this project as well. What cannot be a project is left alone."""
        try:
            real = await asyncio.to_thread(check_project, self._paths, cwd)
        except Exception as error:
            log.debug("not watching %s: %s", cwd, error)
            return
        known = real in self._projects
        self._projects.pop(real, None)
        self._projects[real] = None
        if len(self._projects) > MAX_PROJECTS:
            self._projects.pop(next(iter(self._projects)))
        if not known:
            self._seen |= await asyncio.to_thread(self._signature)
            self._round.set()

    @property
    def projects(self) -> tuple[Path, ...]:
        """The projects watched, the one named last at the end."""
        return tuple(self._projects)

    def _targets(self) -> list[Path]:
        """The folders whose files count, with the folders above them that may come and go."""
        own = [self._paths.agents, self._paths.bottles]
        return own + [project / ".carboy" / "agents" for project in self._projects]

    def _folders(self) -> list[Path]:
        """What to watch: each target and its parent, where a missing or replaced one appears again; where the parent
        is missing too, the nearest folder above (not always: a busy project's root would wake us for nothing)."""
        wanted: dict[Path, None] = {}
        for target in self._targets():
            if target.is_dir():
                wanted[target] = None
            parent = target.parent
            while not parent.is_dir() and parent != parent.parent:
                parent = parent.parent
            wanted[parent] = None
        return list(wanted)

    def _signature(self) -> Signature:
        """What the watched files are now: settings.yml, and every file of the target folders."""
        found: set[tuple[str, int, int, int]] = set()
        for folder in self._targets():
            found |= _entries(folder)
        found |= {entry for entry in _entries(self._paths.config) if entry[0] == str(self._paths.settings)}
        return frozenset(found)

    async def _run(self) -> None:
        while not self._stopping:
            self._round.clear()
            try:
                await self._watch(await asyncio.to_thread(self._folders))
            except (OSError, RuntimeError) as error:
                log.warning("cannot watch the manifest folders, looking every %.0f s: %s", LOOK_AGAIN_S, error)
                await self._pause(LOOK_AGAIN_S)
            await self._compare()

    async def _watch(self, folders: list[Path]) -> None:
        """Watch these folders until one of them comes or goes, or a project is added."""
        identity = _identity(folders)
        changes = awatch(
            *folders,
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            step=STEP_MS,
            recursive=False,
            stop_event=self._round,
            rust_timeout=int(LOOK_AGAIN_S * 1000),
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        following = spawn(anext(changes, None), name="manifest watcher: next change", on_error=_told_later)
        try:
            await asyncio.sleep(0)  # the watches exist from here on: what changed before is found by comparing
            while not self._round.is_set():
                await self._compare()
                if _identity(await asyncio.to_thread(self._folders)) != identity or await following is None:
                    return
                following = spawn(anext(changes, None), name="manifest watcher: next change", on_error=_told_later)
        finally:
            self._round.set()
            await asyncio.gather(following, return_exceptions=True)
            await changes.aclose()

    async def _compare(self) -> None:
        """Tell of a change if the files really differ from what was told last."""
        now = await asyncio.to_thread(self._signature)
        if now == self._seen or self._stopping:
            return
        self._seen = now
        try:
            self._on_change(await asyncio.to_thread(load_catalogue, self._paths, None))
        except Exception:
            log.exception("the manifests changed, but nobody could be told")

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._round.wait(), seconds)
        except TimeoutError:
            return


def _told_later(error: BaseException) -> None:
    """The round that waits for the change raises it again, and says so."""
    log.debug("watching ended: %s", error)


def _identity(folders: list[Path]) -> frozenset[tuple[str, int, int]]:
    """Which folders these are, so that one that was deleted and made again counts as another."""
    found: set[tuple[str, int, int]] = set()
    for folder in folders:
        try:
            info = os.stat(folder)
        except OSError:
            continue
        found.add((str(folder), info.st_dev, info.st_ino))
    return frozenset(found)


def _entries(folder: Path) -> set[tuple[str, int, int, int]]:
    found: set[tuple[str, int, int, int]] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    info = entry.stat()
                    found.add((entry.path, info.st_mtime_ns, info.st_size, info.st_ino))
    except OSError:
        return found
    return found
