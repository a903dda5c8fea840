"""The doctor's findings as the controller can make them: this host's checks, and each backend tried for real."""

from collections.abc import Awaitable, Callable, Sequence

from app.core.model import BackendReport, Doctor
from app.doctor import examine

type Probe = Callable[[], Awaitable[Sequence[BackendReport]]]


async def diagnose(probe: Probe) -> Doctor:
    """Everything that was looked at; `probe` tries the backends."""
    return await examine(await probe())
