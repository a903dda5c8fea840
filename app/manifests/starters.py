"""`carboy init`: fills the config folder from the starter library or from another tree. It never overwrites."""

from collections.abc import Collection
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import app
from app.core.frontmatter import MAX_FILE
from app.core.manifest import parse_agent, parse_bottle
from app.errors import CarboyError, ConfigError, NotFound
from app.files import create, read_bounded
from app.manifests.folders import list_home
from app.manifests.suffixes import shared_domain
from app.paths import Paths, private_folder

KINDS = ("agents", "bottles")


@dataclass(frozen=True)
class Starter:
    """One file of the starter library. `id` is `agents/developer` or `bottles/base`."""

    kind: str
    name: str
    file: Path
    needs: tuple[str, ...] = ()
    summary: str = ""

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass
class InitReport:
    """What `init` did: files written, files that were there already, and what was passed over and why."""

    written: list[Path] = field(default_factory=list[Path])
    kept: list[Path] = field(default_factory=list[Path])
    warnings: list[str] = field(default_factory=list[str])


def library() -> Path:
    """The starter library: in a wheel inside the package, in a checkout beside it."""
    packaged = Path(str(resources.files("app") / "_manifests"))
    checkout = Path(app.__file__).parent.parent / "manifests"
    place = packaged if packaged.is_dir() else checkout
    if not place.is_dir():
        raise CarboyError("the starter library is missing", "Install carboy again", "no_library")
    return place


def starters(place: Path | None = None) -> tuple[Starter, ...]:
    """What the starter library offers."""
    root = place or library()
    found = [
        _starter(kind, name, root / kind / f"{name}.md") for kind in KINDS for name in list_home(root / kind).names
    ]
    return tuple(found)


def init(paths: Paths, pick: Collection[str] | None = None, from_dir: Path | None = None) -> InitReport:
    """Make the config folder. `pick` names starters (`agents/developer`, `base`); what they need comes along; None
    takes all. `from_dir` copies another tree's `agents/` and `bottles/` instead, byte for byte, after a check."""
    report = InitReport()
    root = library() if from_dir is None else _tree(from_dir)
    if from_dir is not None:
        _check_tree(root, report)
    offered = {starter.id: starter for starter in (_safe_starters(root, report))}
    chosen = offered if pick is None else _with_needs(offered, pick)
    for folder in (paths.config, paths.agents, paths.bottles):
        private_folder(folder)
    for starter in chosen.values():
        target = paths.config / starter.kind / f"{starter.name}.md"
        written = create(target, read_bounded(starter.file, MAX_FILE))
        (report.written if written else report.kept).append(target)
    return report


def _starter(kind: str, name: str, file: Path) -> Starter:
    data = read_bounded(file, MAX_FILE)
    if kind == "bottles":
        bottle = parse_bottle(data, name, str(file), shared_domain)
        needs = tuple(f"bottles/{parent}" for parent in bottle.bottle.extends)
        return Starter(kind, name, file, needs, _summary(bottle.notes))
    agent = parse_agent(data, name, str(file))
    needs = (f"bottles/{agent.agent.bottle}",) if agent.agent.bottle else ()
    given = agent.agent.description
    return Starter(kind, name, file, needs, given if isinstance(given, str) else _summary(agent.prompt))


def _summary(text: str) -> str:
    return next((line.lstrip("# ").strip() for line in text.splitlines() if line.strip()), "")


def _safe_starters(root: Path, report: InitReport) -> list[Starter]:
    """A broken file is named and passed over; the others are taken."""
    found: list[Starter] = []
    for kind in KINDS:
        for name in list_home(root / kind).names:
            file = root / kind / f"{name}.md"
            try:
                found.append(_starter(kind, name, file))
            except ConfigError as error:
                report.warnings.append(f"not taken: {error.render()}")
            except OSError as error:
                report.warnings.append(f"not taken: {file}: {error.strerror or error}")
    return found


def _with_needs(offered: dict[str, Starter], pick: Collection[str]) -> dict[str, Starter]:
    chosen: dict[str, Starter] = {}
    waiting = [found for name in pick for found in _named(offered, name)]
    while waiting:
        starter = waiting.pop()
        if starter.id not in chosen:
            chosen[starter.id] = starter
            waiting += [offered[need] for need in starter.needs if need in offered]
    return chosen


def _named(offered: dict[str, Starter], name: str) -> list[Starter]:
    found = [starter for starter in offered.values() if name in (starter.id, starter.name)]
    if not found:
        raise NotFound(f"there is no starter named {name!r}", f"Starters: {', '.join(offered)}", "no_such_starter")
    return found


def _tree(root: Path) -> Path:
    place = root.expanduser()
    if not any((place / kind).is_dir() for kind in KINDS):
        raise NotFound(f"{place} has neither agents/ nor bottles/", "Name the folder that holds them", "no_tree")
    return place


def _check_tree(root: Path, report: InitReport) -> None:
    for kind in KINDS:
        report.warnings += list_home(root / kind).warnings
