"""What a push brings, examined: every object that upstream does not have yet, not just the newest state.

Contents of files, names in folders, messages and headers of commits and tags. A finding on a line that carries an
inline suppression is marked as such; what to do about it is the caller's. Memory is bounded whatever a file's size.
"""

import asyncio
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from sidecar.dlp.containers import ZLIB
from sidecar.dlp.drip import Scattered
from sidecar.dlp.engine import Engine, Scan
from sidecar.dlp.finding import Finding, Location, Match
from sidecar.dlp.known import Pieces
from sidecar.dlp.zips import Broken
from sidecar.gitgate import limits
from sidecar.gitgate.archives import Archives
from sidecar.gitgate.contents import Piece, TooMuch, everything, new_objects, some
from sidecar.gitgate.git import GitFailed
from sidecar.gitgate.quarantine import Quarantine
from sidecar.tasks import cancel_and_wait, spawn

__all__ = ["DETECTORS", "Left", "Problem", "TooMuch", "examine", "findings", "located", "masked"]

DETECTORS = frozenset({"token_patterns", "known_secrets", "financial"})
_PUBLIC = frozenset({"financial_card", "financial_iban", "financial_bitcoin", "financial_bech32", "financial_ethereum"})
"""What tests and documents hold in numbers and nobody can spend with: not refused in a repository."""
UNREAD = "limits"
"""The rule of what was not examined to its end."""
SUPPRESSION = re.compile(
    rb"gitleaks:\s?allow|betterleaks:\s?allow|pragma:\s?(?:allow|white)list[ -](?:nextline[ -])?secret"
    rb"|trufflehog:\s?ignore|ggignore|secret(?:lint|s)?[-:]?\s?(?:disable|ignore|allow)|noboost:secret|nosecret|carboy:\s?allow",
    re.IGNORECASE,
)
"""Marks by which scanners are told to look away: gitleaks, detect-secrets, trufflehog, ggshield, secretlint."""
_ENTRY = re.compile(rb"([0-7]{5,6}) ([^\x00]+)\x00([\x00-\xff]{20})")
_MODES = frozenset({b"40000", b"040000", b"100644", b"100755", b"100664", b"120000", b"160000"})
"""What git writes, and wrote. It reads any number, takes most for a submodule, and the forges let that pass."""
_PLACE = 160
"""Of a path, its end."""
_SMALL = 8 * 1024
_TOGETHER = 32 * 1024
"""Texts that are examined as one: what the search takes in one pass. Above it the rules for long texts begin."""
_TOGETHER_FOUND = "several files together"
_WITH_EARLIER = "this push and what left within the last hour, together"
_SUPPRESSIBLE = frozenset({"token_patterns", "financial"})
"""Detectors whose findings a mark suppresses, or a test's data are: they alone do not refuse a push."""
_BETWEEN = b"\n\0\n"
"""Ends every line, word and run of an alphabet."""


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
    value: Match | None = field(default=None, compare=False, repr=False)
    places: int = field(default=1, compare=False)
    """In how many the value stands, this one being the first; MAX_KEPT means that many at least."""

    def __str__(self) -> str:
        place = "".join(char if char.isprintable() else "?" for char in self.path or self.what)
        if len(place) > _PLACE:  # or it would push out of the line what is found there
            place = f"…{place[-_PLACE:]}"
        line = f":{self.line}" if self.line else ""
        kind = "" if self.what == "file" or not self.path or self.path == self.what else f" ({self.what})"
        commit = f"commit {self.commit[:12]}, " if self.commit else ""
        rule = self.rule if self.by == "carboy" else f"{self.by} {self.rule}"
        more = f", in {counted(self.places)} places" if self.places > 1 else ""
        said = f"{rule}, {self.title}: {self.snippet}" if self.rule != UNREAD else self.title
        return f"{commit}{place}{line}{kind}: {said}{more}"


def counted(number: int) -> str:
    """A number of what is kept up to a bound, as it may be said."""
    return f"at least {number}" if number >= limits.MAX_KEPT else str(number)


class Tally:
    """Problems of each sort, bounded: a sort that is full takes nothing else, and ends no other.

    Of those that a mark suppresses each value is one, with its first place: a crowd of places hides no other value.
    The same push is told alike in whatever order its objects came.
    """

    def __init__(self) -> None:
        self._sorts: dict[tuple[bool, bool], dict[Problem | tuple[str, bytes], Problem]] = {}
        self._places: dict[tuple[str, bytes], set[int]] = {}

    def add(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            sort = self._sorts.setdefault((problem.example, problem.suppressed), {})
            value = problem.value
            key = (problem.rule, value.reveal()) if value is not None and problem.suppressed else problem
            if key not in sort and len(sort) >= limits.MAX_KEPT:
                continue
            first = min(sort.setdefault(key, problem), problem, key=_place)
            if isinstance(key, tuple):
                places = self._places.setdefault(key, set())
                if len(places) < limits.MAX_KEPT:
                    places.add(hash(problem))
                sort[key] = replace(first, places=len(places))

    @property
    def enough(self) -> bool:
        """Those that refuse the push are as many as are kept: nothing else ends the search, or a crowd of documented
        examples would hide a secret."""
        return len(self._sorts.get((False, False), ())) >= limits.MAX_KEPT

    def problems(self) -> list[Problem]:
        """Those that refuse the push come first."""
        return [each for sort in sorted(self._sorts) for each in sorted(self._sorts[sort].values(), key=_place)]


def _place(problem: Problem) -> tuple[str, int, str, str, str, str, int]:
    where = problem.path, problem.line, problem.what, problem.commit
    return *where, problem.rule, problem.snippet, problem.places


class Left:
    """The pieces of known secrets in texts that say nothing by themselves: three in three files tell one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._scattered = Scattered()
        self.problems: list[Problem] = []

    def take(self, scan: Scan) -> None:
        refused = any(each.severity == "block" and each.detector not in _SUPPRESSIBLE for each in scan.findings)
        if refused or self.problems:
            return
        self.problems += self._together(scan.pieces, self._scattered.before(scan.pieces, 0.0), _TOGETHER_FOUND)
        self._scattered.add(scan.pieces, scan.examined, 0.0)

    def with_earlier(self, scattered: Scattered, now: float) -> list[Problem]:
        """The problems of the push together with what left the bottle before, to which it belongs from now on where
        there is none: at once, since another push may be examined meanwhile."""
        pieces = self._scattered.recent(0.0)
        problems = self._together(pieces, scattered.before(pieces, now), _WITH_EARLIER)
        if not problems:
            scattered.add(pieces, self._scattered.examined, now)
        return problems

    def _together(self, pieces: Pieces, before: Pieces, what: str) -> list[Problem]:
        found = self._engine.scattered(pieces, before)
        return [Problem(each.kind or each.code, each.title, each.snippet, what) for each in found]


@dataclass(frozen=True)
class _Text:
    """What of an object is examined, as one text."""

    piece: Piece
    data: bytes
    odd: bool = False
    """It is unlike what git makes: refused, where it is new."""


async def examine(quarantine: Quarantine, tips: list[str], engine: Engine, left: Left) -> list[Problem]:
    """The problems in what `tips` bring, as many of each sort as a `Tally` keeps; the files are located only for those.
    Raises TooMuch, or GitFailed where an object is missing."""
    listing = spawn(new_objects(quarantine, tips), name="git-new-objects", on_error=lambda _: None)
    tally = Tally()
    try:
        await _in_contents(quarantine, listing, engine, tally, left)
        paths = await listing
    finally:
        await cancel_and_wait(listing)
    tally.add(await asyncio.to_thread(_scan_names, engine, paths))
    tally.add(left.problems)
    found = await located(quarantine, tips, tally.problems())
    shown = await asyncio.to_thread(lambda: {path: masked(engine, path) for path in {each.path for each in found}})
    return [replace(problem, path=shown[problem.path]) for problem in found]


async def _in_contents(
    quarantine: Quarantine, listing: asyncio.Task[dict[str, str]], engine: Engine, tally: Tally, left: Left
) -> None:
    """Problems in the objects that `listing` says are new. That there are none is seen without knowing which are."""
    seen: set[str] = set()
    archives = Archives()
    until = time.monotonic() + limits.SCAN_SECONDS
    async for batch in everything(quarantine):
        seen.update(each.oid for each in batch)
        tally.add(await _in_batch(engine, batch, listing, archives, until, left))
        if tally.enough:
            return
    # what upstream never had, or has no more, though it is here already
    if missing := (await listing).keys() - seen:
        async for batch in some(quarantine, missing):
            tally.add(await _in_batch(engine, batch, listing, archives, until, left))
            if tally.enough:
                return


async def _in_batch(
    engine: Engine,
    batch: list[Piece],
    listing: asyncio.Task[dict[str, str]],
    archives: Archives,
    until: float,
    left: Left,
) -> list[Problem]:
    if time.monotonic() > until:
        raise TooMuch("it takes too long to be examined: push in parts")
    suspicious = await asyncio.to_thread(_suspicious, engine, batch, left)
    if not suspicious:
        return []
    paths = await listing
    new = [each for each in suspicious if each.piece.oid in paths]
    return await asyncio.to_thread(_scan, engine, new, paths, archives, left)


def _suspicious(engine: Engine, batch: list[Piece], left: Left) -> list[_Text]:
    """The texts of `batch` that may hold a problem: small ones are looked at together, since a push has thousands."""
    found: list[_Text] = []
    together: list[_Text] = []
    size = 0
    for text in (text for piece in batch for text in _texts(piece)):
        if len(text.data) > _SMALL or text.odd or ZLIB.match(text.data):  # which none is behind another
            found.append(text)
            continue
        together.append(text)
        size += len(text.data)
        if size >= _TOGETHER:
            found += _unless_clean(engine, together, left)
            together, size = [], 0
    return found + _unless_clean(engine, together, left)


def _unless_clean(engine: Engine, texts: list[_Text], left: Left) -> list[_Text]:
    """None of them where all of them, one after the other, hold nothing."""
    return texts if findings(engine, _BETWEEN.join(each.data for each in texts), left) else []


def _texts(piece: Piece) -> list[_Text]:
    if piece.kind == "tree":
        try:
            return [_Text(piece, _tree_text(piece)[0])]
        except TooMuch:
            return [_Text(piece, piece.data, odd=True)]
    texts = [_Text(piece, piece.data)]
    if piece.data.count(b"\0", 0, 4096) > min(len(piece.data), 4096) // 4:
        # UTF-16 and its kin: a shape is found in it only without the zeros
        plain = piece.instead(piece.data.replace(b"\0", b""))
        texts.append(_Text(plain, plain.data))
    return texts


def _scan(engine: Engine, texts: list[_Text], paths: dict[str, str], archives: Archives, left: Left) -> list[Problem]:
    found: list[Problem] = []
    for each in texts:
        if each.piece.kind == "tree":
            found += _scan_tree(engine, each.piece, paths, left)
            continue
        here = [_problem(each.piece, finding, paths) for finding in findings(engine, each.data, left)]
        if any(problem.rule == UNREAD for problem in here):
            here = _member_by_member(engine, each.piece, paths, archives, here, left)
        found += here
    return found


def _member_by_member(
    engine: Engine, piece: Piece, paths: dict[str, str], archives: Archives, before: list[Problem], left: Left
) -> list[Problem]:
    """The problems of what was too much at once, read file by file where it is an archive; else those `before`."""
    found: list[Problem] = []
    taken_apart = False
    try:
        for batch in archives.opened(piece):
            taken_apart = True
            for text in _suspicious(engine, batch, left):
                problems = _scan(engine, [text], paths, archives, left)
                if problems and text.piece.inside[-1]:
                    what = _member(engine, text.piece.inside)
                    problems = [each if each.what != "file" else replace(each, what=what) for each in problems]
                found += problems
    except Broken:
        return before
    values = {problem.value.reveal() for problem in found if problem.value is not None}
    kept = [each for each in before if each.value is None or each.value.reveal() not in values]
    return found + [each for each in kept if each.rule != UNREAD] if taken_apart else before


def _member(engine: Engine, names: tuple[bytes, ...]) -> str:
    name = masked(engine, " in ".join(each.decode(errors="replace") for each in reversed(names)))
    shown = "".join(char if char.isprintable() else "?" for char in name)
    return f"in its {shown[:_PLACE]}"


def findings(engine: Engine, data: bytes, left: Left | None = None) -> list[Finding]:
    scan = engine.scan(data, where=Location("body", "git"), detectors=DETECTORS, examples="warn")
    if left is not None:
        left.take(scan)
    return [finding for finding in scan.findings if finding.code not in _PUBLIC]


def masked(engine: Engine, text: str) -> str:
    """A name as it may be shown: what is a finding in it is left out."""
    data = text.encode()
    for finding in sorted(findings(engine, data), key=lambda finding: -finding.start):
        data = data[: finding.start] + b"***" + data[finding.end :]
    return data.decode(errors="replace") if not findings(engine, data) else "***"


def _tree_text(piece: Piece) -> tuple[bytes, list[bytes]]:
    """Names in a folder, one a line; and what stands for a submodule's commit, which may be any twenty bytes. With the
    names alone. Raises TooMuch for one that is unlike what git makes."""
    data = piece.data
    if len(data) < piece.size:
        raise TooMuch(f"a folder of more than {limits.WINDOW >> 20} MiB is not examined")
    entries: list[tuple[bytes, bytes, bytes]] = _ENTRY.findall(data)
    modes, names = [mode for mode, _, _ in entries], [name for _, name, _ in entries]
    # between two entries there is nothing
    size = len(b"".join(modes)) + len(b"".join(names)) + 22 * len(entries)
    if size != len(data) or not _MODES.issuperset(modes):
        raise TooMuch("a folder has an entry of a kind that git does not make, and is not examined")
    modules = [oid for mode, _, oid in entries if mode == b"160000"] if b"160000" in modes else []
    return b"\n".join(names) + b"".join(b"\n" + oid + b"\n" + oid.hex().encode() for oid in modules), names


def _scan_tree(engine: Engine, each: Piece, paths: dict[str, str], left: Left) -> list[Problem]:
    text, names = _tree_text(each)
    found: list[Problem] = []
    for finding in findings(engine, text, left):
        number = text.count(b"\n", 0, finding.start)
        name = names[number].decode(errors="replace") if number < len(names) else ""
        path = "/".join(filter(None, (paths.get(each.oid, ""), name)))
        problem = _problem(each, finding, paths)
        found.append(replace(problem, what="file name" if name else "submodule", path=path, line=0, suppressed=False))
    return found


def _scan_names(engine: Engine, paths: dict[str, str]) -> list[Problem]:
    """Whole paths: a value may be spread over folders."""
    found: list[Problem] = []
    for piece in _name_pieces(paths.values()):
        for finding in findings(engine, piece):
            low = piece.rfind(b"\n", 0, finding.start) + 1
            high = piece.find(b"\n", finding.start)
            name = piece[low : high if high >= 0 else len(piece)].decode(errors="replace")
            found.append(Problem(finding.kind, finding.title, finding.snippet, "file name", path=name))
    return found


def _name_pieces(paths: Iterable[str]) -> Iterator[bytes]:
    """Each once, one a line, in pieces that overlap."""
    text = bytearray()
    for path in dict.fromkeys(paths):
        text += path.encode() + b"\n"
        if len(text) >= limits.WINDOW:
            yield bytes(text)
            del text[: -limits.OVERLAP]
    yield bytes(text)


_WHAT = {"blob": "file", "commit": "commit message", "tag": "tag", "tree": "file name"}


def _problem(each: Piece, finding: Finding, paths: dict[str, str]) -> Problem:
    data = each.data
    line = each.line + data.count(b"\n", 0, finding.start) + 1
    if each.kind in ("commit", "tag"):
        body = data.find(b"\n\n")
        line = data.count(b"\n", body + 2, finding.start) + 1 if 0 <= body < finding.start else 0
    if finding.kind == UNREAD or each.inside:
        line = 0
    return Problem(
        rule=finding.kind or finding.code,
        title=finding.title,
        snippet=finding.snippet,
        what=_WHAT[each.kind],
        commit=each.oid if each.kind == "commit" else "",
        path=paths.get(each.oid, "") if each.kind in ("blob", "tag") else "",
        line=line,
        suppressed=finding.detector in _SUPPRESSIBLE and suppressed(data, finding.start, finding.end),
        example=finding.severity == "warn",
        oid=each.oid if each.kind == "blob" else "",
        value=finding.value,
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


async def located(quarantine: Quarantine, tips: list[str], problems: list[Problem]) -> list[Problem]:
    """With the commit that brings each, and the path there."""
    found: list[Problem] = []
    for number, problem in enumerate(problems):
        if problem.commit or number >= limits.MAX_SHOWN or problem.what in ("tag", _TOGETHER_FOUND):
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
    for line in output.decode(errors="replace").split("\n"):
        if line.startswith("commit "):
            if commit:
                break
            commit = line[7:47]
        elif line and not path:
            path = line
    return commit, path
