"""The skills of an agent as files for its bottle. Reads the operator's own folders; links in them are not followed."""

import os
from pathlib import Path

from app.backends.base import FileIn
from app.core.schema import Manifest
from app.errors import CarboyError
from app.files import read_bounded
from app.manifests import skill_folders
from app.paths import Paths

MAX_FILES, MAX_BYTES = 1000, 8 * 1024 * 1024
"""Of all skills of one launch: they travel to the sandbox in one frame of 16 MiB, in base64."""


def skill_files(paths: Paths, manifest: Manifest, into: str | None) -> tuple[FileIn, ...]:
    """Every file of the agent's skills, below the folder where its CLI looks for them."""
    names = manifest.agent.skills
    if not names:
        return ()
    if into is None:
        raise CarboyError("This agent's CLI knows no skills", "Take `skills` out of the agent's file", "no_skills")
    files: list[FileIn] = []
    total = 0
    for name, folder in skill_folders(paths, names, manifest.agent_origin).items():
        for file in _files_below(folder):
            data = read_bounded(file, MAX_BYTES, follow=False)
            total += len(data)
            if len(files) >= MAX_FILES or total > MAX_BYTES:
                raise CarboyError(f"The skill {name} is too large", "Keep skills below 8 MiB in all", "skill_size")
            mode = 0o755 if os.access(file, os.X_OK) else 0o644
            files.append(FileIn(f"{into}/{name}/{file.relative_to(folder)}", data, mode))
    return tuple(files)


def _files_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(place, name) for name in sorted(names) if not Path(place, name).is_symlink()]
    return found
