"""Skills on this host: folders that a launch copies into the bottle. It finds them; it never copies or runs them."""

from pathlib import Path

from app.core.manifest import AgentFile
from app.paths import Paths


def skill_places(paths: Paths, origin: str | None) -> tuple[Path, ...]:
    """Where skills are looked for, first match wins. A project's agent gets only what the operator put into carboy's
    own folder: everything else was never offered to it."""
    own = paths.config / "skills"
    return (own,) if origin == "project" else (own, Path.home() / ".claude" / "skills")


def find_skill(paths: Paths, name: str, origin: str | None) -> Path | None:
    return next((place / name for place in skill_places(paths, origin) if (place / name).is_dir()), None)


def check_skills(paths: Paths, agent: AgentFile) -> None:
    """Every skill of the agent exists, or a ConfigError says which one does not and where it was looked for."""
    for index, name in enumerate(agent.agent.skills):
        if find_skill(paths, name, agent.origin) is None:
            looked = ", ".join(str(place) for place in skill_places(paths, agent.origin))
            hint = f"Put the skill's folder into {paths.config / 'skills'}, or take it off the list"
            raise agent.fault(f"there is no skill named {name!r} (looked in {looked})", hint, ("skills", index))


def skill_folders(paths: Paths, names: tuple[str, ...], origin: str | None) -> dict[str, Path]:
    """Each skill's folder on the host; names that are missing are left out."""
    found = {name: find_skill(paths, name, origin) for name in names}
    return {name: place for name, place in found.items() if place is not None}
