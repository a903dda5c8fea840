"""Everything that can be picked, as it is on disk now. A broken file is listed with its error and hides no other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.backends.select import check_name
from app.core.lineage import Lineage, check_hosts, trace
from app.core.manifest import AgentFile, BottleFile
from app.core.merge import BACKEND, TEMPLATE, Leaves, fold, leaves
from app.core.model import AgentEntry, BottleEntry, Catalogue
from app.errors import CarboyError
from app.manifests.folders import list_home, list_project, read_bottle, read_home_agent, read_project_agent
from app.manifests.prompts import prompts
from app.manifests.trust import confirmed
from app.paths import Paths
from app.providers.registry import provider

MAX_DESCRIPTION = 200


def load_catalogue(paths: Paths, cwd: Path | None = None) -> Catalogue:
    """The operator's agents and bottles, and the agents of the project in `cwd`, which win over equal names."""
    bottles, agents = list_home(paths.bottles), list_home(paths.agents)
    project = list_project(cwd) if cwd is not None else None
    entries = {name: _agent(paths, name, str(paths.agents), "home", _home(paths)) for name in agents.names}
    warnings = [*bottles.warnings, *agents.warnings]
    if project is not None and cwd is not None:
        place = str(cwd / ".carboy" / "agents")
        entries |= {name: _agent(paths, name, place, "project", _project(cwd)) for name in project.names}
        warnings += project.warnings
    shelf = _Shelf(paths)
    shown = {name: shelf.entry(name, bottles.names) for name in bottles.names}
    return Catalogue(
        agents=tuple(_with_provider(entries[name], shown) for name in sorted(entries)),
        bottles=tuple(shown.values()),
        prompts=prompts(paths),
        warnings=tuple(warnings),
    )


Reader = Callable[[str], AgentFile | None]


def _home(paths: Paths) -> Reader:
    return lambda name: read_home_agent(paths, name)


def _project(cwd: Path) -> Reader:
    return lambda name: read_project_agent(cwd, name)


def _agent(paths: Paths, name: str, place: str, origin: str, read: Reader) -> AgentEntry:
    plain = AgentEntry(name=name, file=f"{place}/{name}.md", origin="project" if origin == "project" else "home")
    try:
        file = read(name)
    except CarboyError as error:
        return plain.model_copy(update={"error": error.render(), "confirmed": origin == "home"})
    if file is None:
        return plain.model_copy(update={"error": "the file has just gone"})
    seen = file.digest is None or confirmed(paths, file.digest)
    return plain.model_copy(update={"description": _description(file), "bottle": file.agent.bottle, "confirmed": seen})


def _with_provider(agent: AgentEntry, bottles: Mapping[str, BottleEntry]) -> AgentEntry:
    """Which CLI runs it in its own bottle, and how far that was tried."""
    bottle = bottles.get(agent.bottle or "")
    if bottle is None or bottle.provider is None:
        return agent
    try:
        chosen = provider(bottle.provider)
    except CarboyError:  # a plugin that is gone: the launch says so
        return agent
    return agent.model_copy(update={"provider": chosen.title, "tested": chosen.tested_versions})


def _description(file: AgentFile) -> str:
    given = file.agent.description
    text = given if isinstance(given, str) else next((line for line in file.prompt.splitlines() if line.strip()), "")
    return " ".join(text.split()).lstrip("# ")[:MAX_DESCRIPTION]


def _checked(lineage: Lineage, found: Leaves, path: tuple[str, ...], check: Callable[[str], object]) -> str | None:
    """The name that is set at `path`, if any. Raises ConfigError with its line where `check` knows none such."""
    leaf = found.get(path)
    if leaf is None or not leaf.value:
        return None
    try:
        check(str(leaf.value))
    except CarboyError as error:
        raise lineage.file(leaf.sources[-1]).fault(error.message, error.hint, path) from None
    return str(leaf.value)


@dataclass
class _Shelf:
    """All bottles of one listing; each file is read once, however many extend it."""

    paths: Paths
    _read: dict[str, BottleFile | CarboyError | None] = field(
        default_factory=dict[str, "BottleFile | CarboyError | None"]
    )

    def entry(self, name: str, known: tuple[str, ...]) -> BottleEntry:
        file = f"{self.paths.bottles}/{name}.md"
        try:
            lineage = trace((name,), self.read, known)
            check_hosts(lineage)
            found = fold(leaves(part.bottle, part.name) for part in lineage.files)
            template = _checked(lineage, found, TEMPLATE, provider)
            _checked(lineage, found, BACKEND, check_name)
        except CarboyError as error:
            return BottleEntry(name=name, file=file, error=error.render())
        notes = lineage.files[-1].notes
        return BottleEntry(name=name, file=file, lineage=str(lineage), provider=template, notes=notes)

    def read(self, name: str) -> BottleFile | None:
        if name not in self._read:
            try:
                self._read[name] = read_bottle(self.paths, name)
            except CarboyError as error:
                self._read[name] = error
        found = self._read[name]
        if isinstance(found, CarboyError):
            raise found
        return found
