"""What `carboy edit NAME` opens, and whether the result is in order. It starts no editor."""

from pathlib import Path

from app.core.lineage import check_hosts, trace
from app.errors import CarboyError, ConfigError, NotFound
from app.manifests.folders import list_home, read_bottle, read_home_agent, read_project_agent, valid_name
from app.paths import Paths


def edit_target(paths: Paths, name: str) -> Path:
    """The file behind `NAME`, `agent/NAME`, `bottle/NAME` or `settings`. With a prefix it need not exist yet."""
    if name == "settings":
        return paths.settings
    kind, slash, rest = name.partition("/")
    folders = {"agent": paths.agents, "agents": paths.agents, "bottle": paths.bottles, "bottles": paths.bottles}
    if slash and kind in folders and valid_name(rest):
        return folders[kind] / f"{rest}.md"
    if not valid_name(name):
        hint = "Name an agent or a bottle: lower case letters, digits and hyphens"
        raise NotFound(f"{name[:80]!r} is no name of an agent or bottle", hint, "bad_name")
    found = [folder / f"{name}.md" for folder in (paths.agents, paths.bottles) if (folder / f"{name}.md").exists()]
    if len(found) > 1:
        message = f"there is an agent and a bottle named {name}"
        raise CarboyError(message, f"Write agent/{name} or bottle/{name}", "ambiguous_name")
    if not found:
        hint = f"To begin a new one, write agent/{name} or bottle/{name}"
        raise NotFound(f"there is no agent or bottle named {name}", hint, "no_such_manifest")
    return found[0]


def validate_file(paths: Paths, file: Path) -> None:
    """Check an agent, a bottle (with all it extends) or settings.yml. Raises ConfigError with file and line."""
    if file == paths.settings:
        from app.settings import load_settings

        load_settings(paths)
        return
    name = file.name.removesuffix(".md")
    if file.parent == paths.bottles:
        lineage = trace((name,), lambda other: read_bottle(paths, other), list_home(paths.bottles).names)
        check_hosts(lineage)
    elif file.parent == paths.agents:
        read_home_agent(paths, name)
    elif file.parent.name == "agents" and file.parent.parent.name == ".carboy":
        read_project_agent(file.parent.parent.parent, name)
    else:
        raise ConfigError("neither an agent nor a bottle nor settings.yml", "Name one of these", file=str(file))
