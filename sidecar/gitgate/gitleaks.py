"""gitleaks over what a push brings, where it is installed: a second opinion beside our own detectors.

Versions differ: `git` came with 8.19 in place of `detect`, the flag that ignores inline suppressions later than 8.16;
without it files that have such marks are looked at once more without them. The one that is here is asked what it can.
One that fails refuses the push: a scanner that is silent because it is broken would be taken for one that found
nothing.
"""

import asyncio
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from sidecar.gitgate import contents, scan
from sidecar.gitgate.contents import Piece
from sidecar.gitgate.git import Git, GitFailed
from sidecar.gitgate.quarantine import Quarantine
from sidecar.gitgate.scan import Problem

_MARK = b"gitleaks:allow"
_GIT = re.compile(rb"^\s+git\s", re.MULTILINE)
MAX_REPORT = 8 * 1024 * 1024
FOUND = 77
"""The exit code that we ask it to say findings with: 1 would be an error of its own as well."""


@dataclass(frozen=True)
class Abilities:
    command: str = "detect"
    ignores_suppressions: bool = False


def abilities(help_text: bytes) -> Abilities:
    """What this gitleaks can, from its `--help`: distributions build it without a version. Pure."""
    command = "git" if _GIT.search(help_text) else "detect"
    return Abilities(command, b"--ignore-gitleaks-allow" in help_text)


class Gitleaks:
    def __init__(self, git: Git) -> None:
        self._git = git
        self._abilities: Abilities | None = None

    @property
    def here(self) -> bool:
        return "gitleaks" in self._git.programs

    async def examine(self, quarantine: Quarantine, tips: list[str]) -> list[Problem]:
        """Its findings in the commits that `tips` bring. Raises GitFailed."""
        if not self.here:
            return []
        able = await self._able()
        plain = await self._run(quarantine, tips, able, whole=False)
        every = (
            await self._run(quarantine, tips, able, whole=True)
            if able.ignores_suppressions
            else await self._unmarked(quarantine, tips)
        )
        seen = {_key(problem) for problem in plain}
        return plain + [_suppressed(problem) for problem in every if _key(problem) not in seen]

    async def _able(self) -> Abilities:
        if self._abilities is None:
            text = await self._git.run("--help", cwd=self._git.folder, program="gitleaks")
            self._abilities = abilities(text)
        return self._abilities

    async def _run(self, quarantine: Quarantine, tips: list[str], able: Abilities, *, whole: bool) -> list[Problem]:
        options = f"{' '.join(tips)} --not --all -m --full-history"
        args = [able.command]
        args += [str(quarantine.mirror.path)] if able.command == "git" else ["--source", str(quarantine.mirror.path)]
        args += ["--log-opts", options]
        if whole:
            args.append("--ignore-gitleaks-allow")
        return read_report(await self._reported(quarantine, args))

    async def _unmarked(self, quarantine: Quarantine, tips: list[str]) -> list[Problem]:
        """Findings in the files that have a mark, with spaces in its place."""
        folder = quarantine.objects / "unmarked"
        folder.mkdir(mode=0o700)
        marked: set[str] = set()
        async for batch in contents.everything(quarantine):
            for each in batch:
                if each.kind == "blob" and not each.unpacked and (_MARK in each.data or each.oid in marked):
                    marked.add(each.oid)
                    await asyncio.to_thread(_put, folder / each.oid, each)
        if not marked:
            return []
        args = ["detect", "--no-git", "--source", str(folder)]
        found = read_report(await self._reported(quarantine, args))
        paths = await contents.new_objects(quarantine, tips)
        problems = [replace(each, oid=os.path.basename(each.path)) for each in found]
        ours = [replace(each, path=paths[each.oid]) for each in problems if each.oid in paths]
        return await scan.located(quarantine, tips, ours)

    async def _reported(self, quarantine: Quarantine, args: list[str]) -> bytes:
        report = quarantine.objects / "gitleaks.json"
        await asyncio.to_thread(report.unlink, missing_ok=True)
        args = [
            *args, "--report-format", "json", "--report-path", str(report), "--redact", "--no-banner",
            "--exit-code", str(FOUND), "--log-level", "error",
        ]  # fmt: skip
        env = quarantine.env | {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        await self._git.run(*args, cwd=quarantine.mirror.path, env=env, program="gitleaks", ok=(0, FOUND))
        return await asyncio.to_thread(_read, str(report))


def read_report(data: bytes) -> list[Problem]:
    """Findings of a report. Raises GitFailed where it is none."""
    try:
        rows = cast(list[dict[str, Any]], json.loads(data or b"[]") or [])
        return list(dict.fromkeys(map(_problem, rows)))
    except (ValueError, TypeError, AttributeError, KeyError):
        raise GitFailed("gitleaks: its report cannot be read") from None


def _problem(row: dict[str, Any]) -> Problem:
    return Problem(
        rule=str(row.get("RuleID", ""))[:80],
        title=str(row.get("Description", ""))[:120],
        snippet="***",
        what="file",
        commit=str(row.get("Commit", ""))[:40],
        path=str(row.get("File", ""))[:500],
        line=int(row.get("StartLine") or 0),
        by="gitleaks",
    )


def _key(problem: Problem) -> tuple[str, str, int]:
    return problem.rule, problem.path, problem.line


def _put(path: Path, piece: Piece) -> None:
    """A file without its marks; where it is large, piece by piece at their places."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.seek(piece.start)
        file.write(piece.data.replace(_MARK, b" " * len(_MARK)))


def _suppressed(problem: Problem) -> Problem:
    return replace(problem, suppressed=True)


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        data = file.read(MAX_REPORT + 1)
    if len(data) > MAX_REPORT:
        raise GitFailed("gitleaks: too many findings")
    return data
