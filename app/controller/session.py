"""One live session in the controller's memory: its record, its sandbox, its sidecar, and what clients see of it.

Changes its view in one place, so that every change is saved and told. Decides nothing: transitions are
`app.core.lifecycle`'s, steps are the launcher's, restarts the supervisor's.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.backends.base import Box
from app.controller.record import SessionRecord
from app.core import health, lifecycle
from app.core.bottles import start_engine
from app.core.lifecycle import Happening
from app.core.model import LIVE, BottleView, SidecarHealth
from app.errors import CarboyError
from app.paths import Paths
from sidecar.secret import Secret

if TYPE_CHECKING:
    from app.controller.supervisor import Supervisor
    from app.store.base import Position

log = logging.getLogger(__name__)

OVER_SECONDS = 60.0
"""From the end of an agent to everything released, on a slow disk with a large home."""
LOST_SECONDS = 5.0
"""The same where its container engine is away: it cannot say that it has ended."""

type OnChange = Callable[[BottleView], None]


@dataclass(eq=False)
class Session:
    """`record` is replaced, never changed."""

    record: SessionRecord
    paths: Paths
    on_change: OnChange
    box: Box | None = None
    supervisor: "Supervisor | None" = None
    ca_key: Secret | None = None
    canary: Secret | None = None
    sensitive: Mapping[str, Secret] | None = None
    """Values of the bottle's own environment that must not leave it (`sensitive_env`); None: the holder has them."""
    typed: Mapping[str, Secret] = field(default_factory=dict[str, Secret])
    """Secrets typed in for this launch: in memory, for a restarted sidecar; gone with the controller."""
    environment: Mapping[str, Secret] = field(default_factory=dict[str, Secret])
    git_keys: Mapping[str, Secret] = field(default_factory=dict[str, Secret])
    """Private halves of deploy keys, by repository: in memory here and with the session holder."""
    on_activity: Callable[[], None] = lambda: None
    """Called whenever the bottle did something (`app.controller.health`)."""
    active: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by each sign of life; who waits for it clears it."""
    saved: bool = True
    """The record on disk is the one in memory."""
    finishing: bool = False
    """Its agent has ended, or is lost; everything is being released."""
    counted: bool = False
    """Its last sidecar has ended, and all that was used is in the store."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    policy_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while this session's routes are changed or one of its proposals is decided."""
    why: str = ""
    """Why it is ended, where carboy ends it by itself."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once it has ended and everything is released."""

    @property
    def view(self) -> BottleView:
        return self.record.view

    @property
    def slug(self) -> str:
        return self.record.view.slug

    @property
    def id(self) -> str:
        return self.record.view.session_id

    @property
    def state_folder(self) -> Path:
        return self.paths.session_state(self.slug)

    @property
    def run_folder(self) -> Path:
        return self.paths.session_run(self.id)

    @property
    def spool_folder(self) -> Path:
        return self.state_folder / "spool"

    @property
    def live(self) -> bool:
        return self.view.state in LIVE

    async def ack(self, position: "Position") -> None:
        """Its spool is in the store up to here: the sidecar may delete what is."""
        assert self.supervisor is not None
        await self.supervisor.call("ack", {"upto": position.segment})

    def update(self, *, save: bool = True, **changes: Any) -> None:
        """Change fields of the record; save it first, so that disk is never behind the world."""
        self.record = self.record.model_copy(update=changes)
        if save:
            self.record.save(self.state_folder)
            self.saved = True

    def show(self, *, save: bool = True, **changes: Any) -> None:
        """Change fields of the view, save and tell."""
        active = (changes.get("last_activity") or 0.0) > (self.view.last_activity or 0.0)
        if active or changes.get("state", "running") != "running":
            changes.setdefault("stalled", False)
        if changes.get("state", "running") != "running":
            changes.setdefault("asks_user", False)
        view = self.view.model_copy(update=changes)
        score = health.attention(
            view.state,
            view.sidecar,
            stalled=view.stalled,
            lacking=bool(view.missing_secrets),
            budget=max((one.percent for one in view.budgets), default=0),
            asks=view.cut == "ask",
            doing=view.doing,
        )
        view = view.model_copy(update={"attention": score})
        if view == self.view:
            return
        self.record = self.record.model_copy(update={"view": view})
        if save:
            try:
                self.record.save(self.state_folder)
                self.saved = True
            except OSError as error:  # a full disk must not stop a live bottle's news
                self.saved = False
                log.error("the record of %s cannot be saved: %s", self.slug, error)
        if active:
            self.active.set()
            self.on_activity()
        self.on_change(self.view)

    def happened(self, what: Happening, exit_code: int | None = None, **changes: Any) -> None:
        """Take the transition; raises CarboyError where it is not allowed."""
        if what is Happening.EXITED:
            changes["exit_code"] = exit_code
        self.show(state=lifecycle.after(self.view.state, what, exit_code), **changes)

    def heard(self, note: str, body: dict[str, Any]) -> None:
        """News from the sandbox that only the view needs."""
        if note == "title":
            self.show(save=False, title=str(body.get("text", ""))[:200])
        elif note == "activity":
            self.show(save=False, last_activity=time.time())
        elif note == "engine":
            gone = body.get("answers") is False
            if gone != self.view.engine_gone:
                self.show(save=False, engine_gone=gone)

    async def awake(self) -> None:
        """It runs, but may have been paused for a snapshot when its former controller was killed."""
        if self.box is not None and self.view.state == "running":
            with contextlib.suppress(CarboyError):
                await self.box.unpause()

    async def until_over(self) -> BottleView:
        """The last view of one that was told to end. Raises CarboyError where its end stays out."""
        try:
            async with asyncio.timeout(LOST_SECONDS if self.view.engine_gone else OVER_SECONDS):
                await self.over.wait()
        except TimeoutError:
            raise self._not_over() from None
        return self.view

    def _not_over(self) -> CarboyError:
        if self.view.engine_gone:
            said, hint = "which shows once its container engine answers again", start_engine(self.view)
        else:
            said, hint = f"and has not within {OVER_SECONDS:.0f} s", f"`carboy kill {self.slug}` ends it at once"
        return CarboyError(f"{self.slug} was told to end, {said}", hint, "not_over")

    def requested(self, *, allowed: int, refused: int, at: float) -> None:
        """So many requests of it are in the store, the last one of then."""
        latest = max(at, self.view.last_activity or 0.0)
        if (allowed, refused) != (self.view.allowed, self.view.refused) or at > (self.view.last_activity or 0.0):
            self.show(save=False, last_activity=latest, allowed=allowed, refused=refused)

    def sidecar_is(self, state: SidecarHealth) -> None:
        self.show(save=False, sidecar=state)
