"""From names to the one immutable Manifest of a launch: reads the files, joins them, checks what must exist here."""

from collections.abc import Collection, Sequence
from pathlib import Path

from app.core.lineage import Lineage, trace
from app.core.manifest import AgentFile
from app.core.merge import join
from app.core.schema import Manifest, Settings
from app.errors import CarboyError, NotFound, Refused
from app.manifests.folders import list_home, list_project, read_bottle, read_home_agent, read_project_agent
from app.manifests.skills import check_skills
from app.manifests.trust import confirmed as is_confirmed
from app.manifests.trust import describe
from app.paths import Paths


def resolve(
    paths: Paths,
    *,
    agent: str | None,
    bottles: Sequence[str] | None,
    cwd: Path | None,
    settings: Settings,
    confirmed: Collection[str] | None = None,
) -> Manifest:
    """The manifest that this agent and these bottles make. No or empty `bottles` means the agent's own.

    With `confirmed` (content hashes; may be empty) a project's agent that is neither among them nor was confirmed
    before is Refused, judged by the very bytes that the manifest is made of. None leaves that to the caller.
    """
    file = find_agent(paths, agent, cwd) if agent is not None else None
    if file is not None:
        if confirmed is not None:
            _check_confirmed(paths, file, confirmed)
        check_skills(paths, file)
    picked = tuple(bottles or ()) or _own_bottle(paths, file)
    return join(file, picked, _trace(paths, picked, file, explicit=bool(bottles)), settings)


def find_agent(paths: Paths, name: str, cwd: Path | None) -> AgentFile:
    """The agent of that name: the project's before the operator's own."""
    found = read_project_agent(cwd, name) if cwd is not None else None
    found = found or read_home_agent(paths, name)
    if found is not None:
        return found
    names = set(list_home(paths.agents).names) | set(list_project(cwd).names if cwd is not None else ())
    hint = f"Agents here: {', '.join(sorted(names))}" if names else "Run `carboy init` for the starter agents"
    raise NotFound(f"there is no agent named {name[:80]!r}", hint, "no_such_agent")


def _check_confirmed(paths: Paths, file: AgentFile, accepted: Collection[str]) -> None:
    if file.digest is None or file.digest in accepted or is_confirmed(paths, file.digest):
        return
    hint = "Read the file, then start once without --headless and confirm it"
    raise Refused(f"not confirmed yet: {describe(file)}", hint, "agent_not_confirmed")


def _own_bottle(paths: Paths, file: AgentFile | None) -> tuple[str, ...]:
    if file is not None and file.agent.bottle is not None:
        return (file.agent.bottle,)
    who = f"agent {file.name}" if file is not None else "a command"
    where = f"`bottle: NAME` in {file.file}" if file is not None else "an agent whose file has `bottle: NAME`"
    pick = "Pick" if list_home(paths.bottles).names else "Run `carboy init` for the starter bottles, then pick"
    raise CarboyError(f"no bottle for {who}", f"{pick} one with --bottle NAME, or use {where}", "no_bottle")


def _trace(paths: Paths, picked: Sequence[str], file: AgentFile | None, *, explicit: bool) -> Lineage:
    try:
        return trace(picked, lambda name: read_bottle(paths, name), list_home(paths.bottles).names)
    except NotFound as error:
        if explicit or file is None:
            raise
        raise file.fault(error.message, error.hint, ("bottle",)) from None
