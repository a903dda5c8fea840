"""Confirmations of project agents: one file for each content hash below the state folder.

A file's content is trusted, never its place: whatever changes in it asks again.
"""

import re
from pathlib import Path

from app.core.manifest import AgentFile
from app.errors import CarboyError
from app.files import atomic_write
from app.manifests.folders import read_project_agent
from app.paths import Paths, private_folder

_HASH = re.compile(r"[0-9a-f]{64}")


def confirm(paths: Paths, content_hash: str) -> None:
    """Remember that the operator has seen and accepted this content."""
    if not _HASH.fullmatch(content_hash):
        raise CarboyError("not a content hash", "Pass the hash that the preflight names", "bad_hash")
    private_folder(paths.state)
    atomic_write(private_folder(_folder(paths)) / content_hash, b"")


def confirmed(paths: Paths, content_hash: str) -> bool:
    return _HASH.fullmatch(content_hash) is not None and (_folder(paths) / content_hash).is_file()


def unconfirmed(paths: Paths, agent: str | None, cwd: Path | None) -> dict[str, str]:
    """Content hash → what it is, for the project's agent of that name if it still waits to be confirmed."""
    if agent is None or cwd is None:
        return {}
    file = read_project_agent(cwd, agent)
    if file is None or file.digest is None or confirmed(paths, file.digest):
        return {}
    return {file.digest: describe(file)}


def describe(file: AgentFile) -> str:
    """What the operator is asked to confirm, in one line."""
    skills = f", skills: {', '.join(file.agent.skills)}" if file.agent.skills else ""
    bottle = f", bottle: {file.agent.bottle}" if file.agent.bottle else ""
    length = len(file.prompt)
    return f"agent {file.name} from {file.file} (a prompt of {length} characters{bottle}{skills})"


def _folder(paths: Paths) -> Path:
    return paths.state / "confirmed"
