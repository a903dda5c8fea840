"""Which backend a launch takes. The decision is pure, over probe reports; probing is the backends' own work."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.backends.base import Backend
from app.core.model import BackendReport, Isolation
from app.errors import CarboyError, NotFound

AUTO = "auto"
NAMES = ("local", "docker")
"""Every backend, in the order in which `auto` tries them."""
STRENGTH: dict[Isolation, int] = {"process": 0, "container": 1, "vm": 2}


@dataclass(frozen=True)
class Chosen:
    """The backend, and what every one that was tried reported."""

    backend: Backend
    tried: tuple[BackendReport, ...]


class NoBackend(CarboyError):
    """None works or none is strong enough. `tried` says which and why."""

    def __init__(self, message: str, hint: str, tried: tuple[BackendReport, ...]) -> None:
        super().__init__(message, hint, "no_backend")
        self.tried = tried


async def choose(
    backends: Sequence[Backend], wish: str | None, isolation: Isolation | None, runtime: str | None = None
) -> Chosen:
    """The backend for a wish (`auto`, None or a name) and a least isolation (hardening.md, Selecting a backend).

    A named one is never replaced by another. Raises NoBackend, or NotFound for a name that does not exist.
    """
    tried: list[BackendReport] = []
    for backend in candidates(backends, wish, isolation, runtime):
        report = await backend.probe()
        tried.append(report)
        if report.works:
            return Chosen(backend, tuple(tried))
    raise refusal(tuple(tried), wish, isolation, runtime)


def candidates(
    backends: Sequence[Backend], wish: str | None, isolation: Isolation | None, runtime: str | None
) -> list[Backend]:
    """Those to try, in order: the named one alone, else all that are strong enough, the weakest of them first. Who asks
    for a container's runtime is not given a sandbox without one. Pure."""
    least = STRENGTH[isolation or "process"]
    if wish in (None, AUTO):
        known = [backend for backend in backends if backend.uses_images or not runtime]
        enough = [backend for backend in known if STRENGTH[backend.isolation] >= least]
        return sorted(enough, key=lambda backend: STRENGTH[backend.isolation]) if isolation else enough
    named = [backend for backend in backends if backend.name == wish]
    if not named:
        raise unknown(str(wish), [backend.name for backend in backends])
    if STRENGTH[named[0].isolation] < least:
        raise NoBackend(
            f"The backend {wish} isolates by {named[0].isolation}; this bottle asks for {isolation}",
            "Choose a stronger backend, or lower `isolation` in the bottle",
            (),
        )
    return named


def unknown(name: str, known: Iterable[str] = NAMES) -> NotFound:
    """No backend is called so."""
    return NotFound(f"There is no backend {name!r}", f"Known: {', '.join((AUTO, *known))}", "no_backend")


def check_name(name: str) -> None:
    """Raises NotFound where no backend is ever called so; whether it works here is not asked."""
    if name not in (AUTO, *NAMES):
        raise unknown(name)


def refusal(
    tried: tuple[BackendReport, ...], wish: str | None, isolation: Isolation | None, runtime: str | None
) -> NoBackend:
    """Why there is none, in words. Pure."""
    if not tried:
        return NoBackend(f"No backend here isolates by {isolation}", "Lower `isolation` in the bottle", ())
    reasons = "; ".join(f"{report.name}: {report.reason}" for report in tried)
    fixes = ". ".join(dict.fromkeys(report.fix for report in tried if report.fix))
    some = f"No backend that has container runtimes ({runtime})" if runtime else "No backend"
    what = f"{some} works here" if wish in (None, AUTO) else f"The backend {wish} does not work here"
    return NoBackend(f"{what}: {reasons}", fixes, tried)
