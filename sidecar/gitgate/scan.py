"""What a push brings, examined: every object that upstream does not have yet, not just the newest state.

Contents of files, names in folders, messages and headers of commits and tags. A finding on a line that carries an
inline suppression is marked as such; what to do about it is the caller's. Memory is bounded whatever a file's size.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from sidecar.dlp.engine import Engine
from sidecar.dlp.finding import Finding, Location
from sidecar.gitgate import limits
from sidecar.gitgate.git import GitFailed, Running, finished
from sidecar.gitgate.quarantine import Quarantine

DETECTORS = frozenset({"token_patterns", "known_secrets", "financial"})
_PUBLIC = frozenset({"financial_card", "financial_iban", "financial_bitcoin", "financial_bech32", "financial_ethereum"})
"""What tests and documents hold in numbers and nobody can spend with: not refused in a repository."""
SUPPRESSION = re.compile(
    rb"gitleaks:\s?allow|betterleaks:\s?allow|pragma:\s?(?:allow|white)list[ -](?:nextline[ -])?secret"
    rb"|trufflehog:\s?ignore|ggignore|secret(?:lint|s)?[-:]?\s?(?:disable|ignore|allow)|noboost:secret|nosecret|carboy:\s?allow",
    re.IGNORECASE,
)
"""Marks by which scanners are told to look away: gitleaks, detect-secrets, trufflehog, ggshield, secretlint."""
_ENTRY = re.compile(rb"([0-7]{5,6}) ([^\x00]+)\x00(.{20})", re.DOTALL)
_BATCH = 2 * 1024 * 1024


@dataclass(frozen=True)
class Problem:
    """One finding, safe to show."""

    rule: str
    title: str
    snippet: str
    what: str
    """`file`, `file name`, `commit message`, `tag` …"""
    commit: str = ""
    path: str = ""
    line: int = 0
    suppressed: bool = False
    example: bool = False
    by: str = "carboy"
    oid: str = field(default="", compare=False)

    def __str__(self) -> str:
        place = self.path or self.what
        line = f":{self.line}" if self.line else ""
        kind = "" if self.what == "file" or place == self.what else f" ({self.what})"
        commit = f"commit {self.commit[:12]}, " if self.commit else ""
        rule = self.rule if self.by == "carboy" else f"{self.by} {self.rule}"
        return f"{commit}{place}{line}{kind}: {rule}, {self.title}: {self.snippet}"


class TooMuch(Exception):
    """More than is examined. The text is for the client."""


@dataclass
class _Object:
    oid: str
    kind: str
    size: int
    data: bytes
    start: int = 0
    """Where in the object `data` begins."""
    line: int = 0
    """Lines before it."""


async def examine(quarantine: Quarantine, tips: list[str], engine: Engine) -> list[Problem]:
    """Every problem in what `tips` bring, at most some; the files are located only for those. Raises TooMuch, or
    GitFailed where an object is missing."""
    paths = await _new_objects(quarantine, tips)
    if not paths:
        return []
    problems: list[Problem] = []
    batch: list[_Object] = []
    size = 0
    async for each in _contents(quarantine, list(paths)):
        batch.append(each)
        size += len(each.data)
        if size >= _BATCH:
            problems += await asyncio.to_thread(_scan, engine, batch, paths)
            batch, size = [], 0
            if len(problems) > limits.MAX_SHOWN * 10:
                break
    problems += await asyncio.to_thread(_scan, engine, batch, paths)
    problems += await asyncio.to_thread(_scan_names, engine, paths)
    found = await _located(quarantine, tips, _distinct(problems))
    return [replace(problem, path=masked(engine, problem.path)) for problem in found]


async def _new_objects(quarantine: Quarantine, tips: list[str]) -> dict[str, str]:
    """Object → a path of it. This also proves that nothing is missing, as git's own receiver does."""
    output = await quarantine.run("rev-list", "--objects", *tips, "--not", "--all", limit=limits.MAX_OBJECTS * 300)
    paths: dict[str, str] = {}
    for line in output.split(b"\n"):
        oid, _, path = line.partition(b" ")
        if oid:
            paths.setdefault(oid.decode("ascii"), path.decode(errors="replace"))
    if len(paths) > limits.MAX_OBJECTS:
        raise TooMuch(f"{len(paths)} new objects are more than are scanned at once: push in parts")
    return paths


async def _contents(quarantine: Quarantine, oids: list[str]) -> AsyncIterator[_Object]:
    """Each object's content; of a large one, pieces that overlap."""
    given = "".join(f"{oid}\n" for oid in oids).encode()
    total = 0
    async with quarantine.git.start(
        "cat-file", "--batch", "--buffer", cwd=quarantine.mirror.path, env=quarantine.env, stdin=given
    ) as running:
        for _ in oids:
            header = (await running.output.readline()).split()
            running.touch()
            if len(header) != 3:
                raise GitFailed("cat-file: an object is missing")
            oid, kind, size = header[0].decode(), header[1].decode(), int(header[2])
            total += size
            if total > limits.MAX_UNPACKED:
                raise TooMuch("it unpacks to more than is scanned at once: push in parts")
            async for each in _pieces(running, oid, kind, size):
                yield each
            await running.output.readexactly(1)
        await finished(running)


async def _pieces(running: Running, oid: str, kind: str, size: int) -> AsyncIterator[_Object]:
    kept = b""
    start = line = done = 0
    while True:
        part = min(limits.WINDOW, size - done)
        data = kept + await running.output.readexactly(part)
        running.touch()
        done += part
        yield _Object(oid, kind, size, data, start, line)
        if done >= size:
            return
        cut = max(0, len(data) - limits.OVERLAP)
        line += data.count(b"\n", 0, cut)
        kept, start = data[cut:], start + cut


def _scan(engine: Engine, batch: list[_Object], paths: dict[str, str]) -> list[Problem]:
    found: list[Problem] = []
    for each in batch:
        if each.kind == "tree":
            found += _scan_tree(engine, each, paths)
            continue
        found += [_problem(each, finding, paths) for finding in findings(engine, each.data)]
        if each.data.count(b"\0", 0, 4096) > min(len(each.data), 4096) // 4:
            # UTF-16 and its kin: a shape is found in it only without the zeros
            plain = replace_object(each, each.data.replace(b"\0", b""))
            found += [_problem(plain, finding, paths) for finding in findings(engine, plain.data)]
    return found


def replace_object(each: _Object, data: bytes) -> _Object:
    return _Object(each.oid, each.kind, each.size, data, each.start, each.line)


def findings(engine: Engine, data: bytes) -> list[Finding]:
    scan = engine.scan(data, where=Location("body", "git"), detectors=DETECTORS, examples="warn")
    return [finding for finding in scan.findings if finding.code not in _PUBLIC]


def masked(engine: Engine, text: str) -> str:
    """A name as it may be shown: what is a finding in it is left out."""
    data = text.encode()
    for finding in sorted(findings(engine, data), key=lambda finding: -finding.start):
        data = data[: finding.start] + b"***" + data[finding.end :]
    return data.decode(errors="replace") if not findings(engine, data) else "***"


def _scan_tree(engine: Engine, each: _Object, paths: dict[str, str]) -> list[Problem]:
    """Names in a folder; and what stands for a submodule's commit, which may be any twenty bytes."""
    entries = _ENTRY.findall(each.data)
    text = b"\n".join(name for _, name, _ in entries)
    modules = [oid for mode, _, oid in entries if mode == b"160000"]
    text += b"".join(b"\n" + oid + b"\n" + oid.hex().encode() for oid in modules)
    found: list[Problem] = []
    for finding in findings(engine, text):
        number = text.count(b"\n", 0, finding.start)
        name = entries[number][1].decode(errors="replace") if number < len(entries) else ""
        path = "/".join(filter(None, (paths.get(each.oid, ""), name)))
        problem = _problem(each, finding, paths)
        found.append(replace(problem, what="file name" if name else "submodule", path=path, line=0, suppressed=False))
    return found


def _scan_names(engine: Engine, paths: dict[str, str]) -> list[Problem]:
    """Whole paths: a value may be spread over folders."""
    text = "\n".join(dict.fromkeys(path for path in paths.values() if path)).encode()
    found: list[Problem] = []
    for start in range(0, max(1, len(text)), limits.WINDOW):
        piece = text[max(0, start - limits.OVERLAP) : start + limits.WINDOW]
        for finding in findings(engine, piece):
            low = piece.rfind(b"\n", 0, finding.start) + 1
            high = piece.find(b"\n", finding.start)
            name = piece[low : high if high >= 0 else len(piece)].decode(errors="replace")
            found.append(Problem(finding.kind, finding.title, finding.snippet, "file name", path=name))
    return found


_WHAT = {"blob": "file", "commit": "commit message", "tag": "tag", "tree": "file name"}


def _problem(each: _Object, finding: Finding, paths: dict[str, str]) -> Problem:
    data = each.data
    line = each.line + data.count(b"\n", 0, finding.start) + 1
    if each.kind in ("commit", "tag"):
        body = data.find(b"\n\n")
        line = data.count(b"\n", body + 2, finding.start) + 1 if 0 <= body < finding.start else 0
    own = finding.detector in ("token_patterns", "financial")
    return Problem(
        rule=finding.kind or finding.code,
        title=finding.title,
        snippet=finding.snippet,
        what=_WHAT[each.kind],
        commit=each.oid if each.kind == "commit" else "",
        path=paths.get(each.oid, "") if each.kind in ("blob", "tag") else "",
        line=line,
        suppressed=own and suppressed(data, finding.start, finding.end),
        example=finding.severity == "warn",
        oid=each.oid if each.kind == "blob" else "",
    )


def suppressed(data: bytes, start: int, end: int) -> bool:
    """Whether a line of data[start:end], or the one before it, tells scanners to look away."""
    low = data.rfind(b"\n", 0, start) + 1
    before = data.rfind(b"\n", 0, max(0, low - 1)) + 1
    high = data.find(b"\n", end)
    high = len(data) if high < 0 else high
    own = data[max(low, start - 4096) : min(high, end + 4096)]
    above = data[before:low]
    return bool(SUPPRESSION.search(own)) or (b"nextline" in above.lower() and bool(SUPPRESSION.search(above[-4096:])))


def _distinct(problems: list[Problem]) -> list[Problem]:
    """Refusing ones first, each once."""
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.example, problem.suppressed))[
        : limits.MAX_SHOWN * 2
    ]


async def _located(quarantine: Quarantine, tips: list[str], problems: list[Problem]) -> list[Problem]:
    """With the commit that brings each, and the path there."""
    found: list[Problem] = []
    for number, problem in enumerate(problems):
        if problem.commit or number >= limits.MAX_SHOWN or problem.what == "tag":
            found.append(problem)
            continue
        commit, path = await _first(quarantine, tips, problem)
        found.append(replace(problem, commit=commit, path=path or problem.path))
    return found


async def _first(quarantine: Quarantine, tips: list[str], problem: Problem) -> tuple[str, str]:
    """The oldest new commit that has the object, or changes the path."""
    where = ["-m", "--no-renames", f"--find-object={problem.oid}", "--name-only"] if problem.oid else []
    args = ["-c", "core.quotePath=false", "log", "--reverse", "--format=commit %H", *where, *tips, "--not", "--all"]
    args += [] if problem.oid else ["--", f":(literal){problem.path}"]
    try:
        output = await quarantine.run(*args, limit=4 * 1024 * 1024)
    except GitFailed:
        return "", ""
    commit = path = ""
    for line in output.decode(errors="replace").splitlines():
        if line.startswith("commit "):
            if commit:
                break
            commit = line[7:47]
        elif line and not path:
            path = line
    return commit, path
