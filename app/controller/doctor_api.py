"""The doctor's findings as the controller can make them: this host's checks, each backend tried for real, and how large
the record of what bottles did is."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from app.core.model import BackendReport, Doctor, DoctorCheck
from app.core.units import plural, room
from app.doctor import examine
from app.errors import CarboyError
from app.paths import Paths
from app.settings import load_settings
from app.store.base import Store

type Probe = Callable[[], Awaitable[Sequence[BackendReport]]]


async def diagnose(probe: Probe, paths: Paths, store: Store) -> Doctor:
    """Everything that was looked at; `probe` tries the backends."""
    found = await examine(await probe())
    return found.model_copy(update={"checks": (*found.checks, await record_check(paths, store))})


async def record_check(paths: Paths, store: Store) -> DoctorCheck:
    """What is kept of lines, and what makes room for more."""
    lines, held = await store.kept_lines()
    dropped = await store.dropped()
    text = f"{lines:,} {plural('line', lines)} of bottles, {room(held)}"
    try:
        most = (await asyncio.to_thread(load_settings, paths)).settings.keep.size
    except CarboyError as error:
        text = f"{text}; nothing old is removed while settings.yml cannot be read"
        return DoctorCheck(name="record", ok=False, text=text, fix=error.render())
    bound = "of any size" if most is None else f"of {room(most)} at most"
    gone = f"; {dropped:,} older {plural('line', dropped)} dropped" if dropped else ""
    return DoctorCheck(name="record", ok=True, text=f"{text} {bound}{gone}")
