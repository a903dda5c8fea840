"""One push, from its commands to its report: rules, quarantine, scan, the operator where one must be asked, upstream.

All or nothing: no reference changes anywhere unless every one may, and ours only after upstream took them. What is said
to the client goes over its side band while the work goes on.
"""

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sidecar.contract import SCOPE_SECONDS, GitRepo, Report
from sidecar.dlp.drip import Scattered
from sidecar.dlp.engine import Engine
from sidecar.gitgate import backups, decide, limits, review, scan
from sidecar.gitgate.git import AS_IT_IS, GitFailed
from sidecar.gitgate.gitleaks import Gitleaks
from sidecar.gitgate.mirror import Mirror
from sidecar.gitgate.pktline import FLUSH, Command, Push, band, packet
from sidecar.gitgate.quarantine import Quarantine
from sidecar.gitgate.stream import Stream
from sidecar.supervise.desk import Desk, NotRecorded, Outcome, Question, Ticket, TooLarge, TooMany
from sidecar.tasks import cancel_and_wait, spawn

log = logging.getLogger(__name__)

UPSTREAM_SECONDS = 120.0
"""How long an upstream may say nothing to a push: its hooks run meanwhile."""
type Code = Literal[
    "ok", "git_ref_refused", "git_force_refused", "git_bad_pack", "git_secret_found", "git_scan_failed",
    "git_not_approved", "git_upstream_refused", "git_push_too_large", "git_failed", "spool_unavailable",
]  # fmt: skip


class PushRefused(Exception):
    """The push does not go through. `why` is for the report of each reference, `lines` for the user."""

    def __init__(self, code: Code, why: str, *lines: str, refs: dict[str, str] | None = None) -> None:
        super().__init__(code)
        self.code: Code = code
        self.why = why
        self.lines = lines
        self.refs = refs or {}

    @property
    def reason(self) -> str:
        """Why, in the log: of the references that are refused, and not for the sake of others."""
        own = [f"{ref.removeprefix('refs/heads/')}: {why}" for ref, why in self.refs.items() if "atomic" not in why]
        return ", ".join(own[:5])[:300] or self.why


@dataclass
class Rules:
    """What holds for this push besides its repository: who can be asked, and how long that is waited for."""

    supervise: bool
    hold_seconds: float


@dataclass
class Session:
    """The push while it lives."""

    repo: GitRepo
    mirror: Mirror
    push: Push
    stream: Stream
    engine: Callable[[], Awaitable[Engine]]
    gitleaks: Gitleaks
    desk: Desk
    rules: Rules
    max_push: int
    hide: Callable[[str], str]
    """A text of the repository without known secrets: what is taken out of it is shown as well."""
    masked: Callable[[str], str]
    """What upstream said without the credentials that it was given, in any encoding."""
    scattered: Scattered
    """Pieces of known secrets that left the bottle, in pushes and otherwise."""
    code: Code = "ok"
    reason: str = ""
    detail: dict[str, Any] = field(default_factory=dict[str, Any])
    reported: bool = False
    on_hold: Callable[[str], object] = lambda _: None
    on_report: Callable[[], None] = lambda: None
    on_leave: Callable[[], bool] = lambda: True
    """Writes down that it leaves, and says whether that is on disk: upstream may take it whatever becomes of us."""
    pause: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    """What is held of the gate is given back in it."""

    async def tell(self, *lines: str) -> None:
        """Lines for the user; text of others is shown without control characters."""
        if not self.banded or not lines:
            return
        for line in self.masked("\n".join(lines)).split("\n"):
            safe = "".join(char if char.isprintable() else "?" for char in line)[:900]
            for piece in band(2, safe.encode() + b"\n"):
                await self.stream.put(piece)

    @property
    def banded(self) -> bool:
        return "side-band-64k" in self.push.capabilities


async def receive(session: Session, fd: int) -> None:
    """Carry the push out and report. The body is in `fd`."""
    await session.stream.begin(200, "application/x-git-receive-pack-result")
    if session.banded:
        session.stream.keepalive = b"0005\x02"
    refused: PushRefused | None = None
    try:
        await _carry_out(session, fd)
    except PushRefused as error:
        refused = error
    except GitFailed as error:
        refused = PushRefused("git_failed", "the git gate could not do it", error.what)
    except OSError as error:  # a full disk, for one
        refused = PushRefused("git_failed", "the git gate could not do it", f"on its host: {error.strerror}")
    if session.reported:
        return
    assert refused is not None
    session.code, session.reason = refused.code, refused.reason
    await session.tell(*(f"carboy: {line}" for line in refused.lines))
    await _report(session, refused)


async def _carry_out(session: Session, fd: int) -> None:
    commands = session.push.commands
    async with session.mirror.lock:
        present = await session.mirror.names()
    refs = {command.ref: why for command in commands if (why := decide.refused_ref(command, present))}
    if refs:
        raise PushRefused("git_ref_refused", "not with the others", refs=refs)
    async with Quarantine(session.mirror) as quarantine:
        if any(not command.deletes for command in commands):
            await _read(session, quarantine, fd)
        forced = spawn(_forced(session, quarantine), name="git-forced", on_error=lambda _: None)
        try:
            found = await _examine(session, quarantine)
            taken = await forced
        finally:
            await cancel_and_wait(forced)
        if found.suppressed:
            await _ask_about(session, found.suppressed)
        if session.repo.review:
            await _review(session, quarantine)
        session.stream.keep_going = True
        async with session.mirror.lock:
            await _forward(session, quarantine, taken)


async def _read(session: Session, quarantine: Quarantine, fd: int) -> None:
    try:
        await quarantine.read(fd, session.push.end, session.max_push)
    except GitFailed as error:
        lines = [line for line in error.said.splitlines() if line.startswith(("fatal", "error"))][:5]
        raise PushRefused("git_bad_pack", "the pack cannot be read", *lines) from None


async def _forced(session: Session, quarantine: Quarantine) -> list[Command]:
    """The commands that take something away. Raises PushRefused where the manifest does not say that they may."""
    taken: list[Command] = [command for command in session.push.commands if command.deletes]
    refs: dict[str, str] = {}
    for command in session.push.commands:
        # what was deleted and comes again counts as if it had stayed: else two pushes were one by force
        before = await backups.last(session.mirror, command.ref) if command.creates else command.old
        if command.deletes or not before or before == command.new:
            continue
        if not decide.forced(command.ref, fast_forward=await _goes_on(quarantine, before, command)):
            continue
        if not command.creates:
            taken.append(command)
        if not session.repo.force_push:
            refs[command.ref] = "non-fast-forward"
    if refs:
        line = "this would take commits away from upstream; the bottle file allows that with `force_push: true`"
        raise PushRefused("git_force_refused", "not with the others", line, refs=refs)
    return taken


async def _goes_on(quarantine: Quarantine, before: str, command: Command) -> bool:
    try:
        await quarantine.run("merge-base", "--is-ancestor", before, command.new)
    except GitFailed as error:
        if error.code == 1 or command.creates:  # what was deleted may be gone from here
            return False
        if command.ref.startswith("refs/tags/"):  # of something that is no commit
            return False
        raise
    return True


# --- secrets --------------------------------------------------------------------------------------------------------


async def _examine(session: Session, quarantine: Quarantine) -> decide.Sorted:
    """What was found and does not refuse the push by itself."""
    tips = list(dict.fromkeys(command.new for command in session.push.commands if not command.deletes))
    names = "\n".join(command.ref for command in session.push.commands).encode()
    engine = await session.engine()
    left = scan.Left(engine)
    problems = [
        scan.Problem(found.kind, found.title, found.snippet, "reference's name", line=0)
        for found in scan.findings(engine, names, left)
    ]
    try:
        if tips:
            problems += await scan.examine(quarantine, tips, engine, left)
            problems += await session.gitleaks.examine(quarantine, tips)
    except scan.TooMuch as error:
        raise PushRefused("git_scan_failed", "not scanned", str(error)) from None
    except GitFailed as error:
        lines = [line for line in error.said.splitlines() if line.startswith(("fatal", "error"))][:5]
        raise PushRefused(
            "git_scan_failed", "not scanned", f"what it brings could not be scanned: {error.what}", *lines
        ) from None
    found = decide.sort(problems)
    if not found.refusing:
        found = replace(found, refusing=tuple(left.with_earlier(session.scattered, time.monotonic())))
    await session.tell(
        *(f"carboy: warning: a documented example value in {line}" for line in decide.listing(found.examples))
    )
    if found.refusing:
        session.detail["findings"] = len(found.refusing)
        raise _refusal(found.refusing)
    return found


def _refusal(refusing: tuple[scan.Problem, ...]) -> PushRefused:
    """A secret, or what could not be examined to its end: there is none to be removed then."""
    unread = [problem for problem in refusing if problem.rule == scan.UNREAD]
    lines = [f"  {line}" for line in decide.listing(refusing)]
    larger = (
        "what is not examined to its end was packed and is much larger unpacked, or is full of what looks like "
        "credentials: commit it unpacked, in smaller files, or keep it elsewhere (a release, a download)"
    )
    if len(unread) == len(refusing):
        return PushRefused(
            "git_scan_failed", "not scanned", "this push was refused, since of it was not examined to the end:",
            *lines, larger, "take it out of every commit that has it (git rebase, git commit --amend), then push again",
        )  # fmt: skip
    return PushRefused(
        "git_secret_found", "a secret was found", "this push holds what looks like a secret, and was refused:",
        *lines, *([larger] if unread else []),
        "remove it from every commit that has it (git rebase, git commit --amend), then push again",
    )  # fmt: skip


async def _ask_about(session: Session, hidden: tuple[scan.Problem, ...]) -> None:
    """Findings that an inline mark hid: the operator's to decide. All of them are shown, or none."""
    if len(hidden) > limits.MAX_SUPPRESSED:
        raise PushRefused(
            "git_not_approved", "not approved",
            f"inline comments suppress {scan.counted(len(hidden))} different findings: more than the "
            f"{limits.MAX_SUPPRESSED} that are shown to the operator at once; push in parts",
        )  # fmt: skip
    lines = decide.listing(hidden, limits.MAX_SUPPRESSED)
    await session.tell(
        "carboy: findings that only an inline comment suppresses:",
        *(f"carboy:   {line}" for line in decide.listing(hidden)),
    )
    report = _report_of(session, "gitleaks-allow", f"{decide.numbers(hidden)} in a push to {session.repo.name}")
    names = review.cut("\n".join(review.references(session.push.commands)), limits.MAX_NAMED)
    report = report.model_copy(
        update={
            "detector": hidden[0].by,
            "location": lines[0][:200],
            "snippet": "\n".join(lines)[:500],
            "text": "\n".join([*lines, "", names]),
        }
    )
    await _hold(session, "gitleaks-allow", report, "suppressed findings")


async def _review(session: Session, quarantine: Quarantine) -> None:
    names = review.title(session.push.commands)
    report = _report_of(session, "git-push", f"push to {session.repo.name}: {names}")
    text = await review.whole_text(quarantine, session.push.commands, session.hide)
    report = report.model_copy(update={"location": names[:200], "text": text})
    await _hold(session, "git-push", report, "review")


def _report_of(session: Session, detector: str, title: str) -> Report:
    return Report(
        host=session.mirror.upstream.host[:260],
        port=session.mirror.upstream.port,
        method="PUSH",
        path=f"/{session.repo.name}.git",
        detector=detector,
        title=title[:200],
    )


async def _hold(session: Session, kind: Literal["gitleaks-allow", "git-push"], report: Report, what: str) -> None:
    """Until the operator approves. Raises PushRefused in every other case."""
    if not session.rules.supervise:
        raise PushRefused(
            "git_not_approved", "nobody may approve it", f"{what}: nobody supervises this bottle, so it is refused"
        )
    key = _key(session, kind, report)
    before = session.desk.last_of(key)
    if before is not None and before.outcome is not None and _still_holds(before.outcome):
        return
    ticket = _ask(session, kind, key, report)
    await session.tell(f"carboy: {what}: waiting for the operator to decide ({ticket.id})")
    session.on_hold(kind)
    settled = False
    try:
        async with session.pause():
            outcome = await session.desk.wait(ticket, session.rules.hold_seconds)
        settled = True
    except TooMany as error:
        raise PushRefused("git_not_approved", "not approved", str(error)) from None
    finally:
        if not settled and session.stream.gone and not ticket.waiters:
            session.desk.leave(ticket, "the client went away")
    if outcome is not None and outcome.state == "approved":
        await session.tell("carboy: approved")
        return
    said = (
        "nobody decided in time"
        if outcome is None or outcome.state == "expired"
        else f"the operator {outcome.state} it"
    )
    why = f": {outcome.reason}" if outcome is not None and outcome.reason else ""
    raise PushRefused("git_not_approved", "not approved", f"{what}: {said}{why}")


def _still_holds(outcome: Outcome) -> bool:
    """Whether a yes is one for the same push again: its upstream may have refused it meanwhile."""
    until = outcome.at + {**SCOPE_SECONDS, "once": 0.0}.get(outcome.scope, float("inf"))
    return outcome.state == "approved" and time.time() < until


def _ask(session: Session, kind: Literal["gitleaks-allow", "git-push"], key: str, report: Report) -> Ticket:
    expires = time.time() + session.rules.hold_seconds
    while True:
        try:
            return session.desk.ask(Question(kind, key, expires, report=report))
        except TooLarge:
            if kind == "gitleaks-allow" or len(report.text) < 1000:  # a finding is never cut off
                raise PushRefused("git_not_approved", "not approved", "it cannot be shown to the operator") from None
            # characters that take six bytes each in JSON
            cut = report.text[: len(report.text) // 2]
            report = report.model_copy(update={"text": cut + "\n[cut off: the rest is too long to show]"})
        except (TooMany, NotRecorded) as error:
            raise PushRefused("git_not_approved", "not approved", f"the operator cannot be asked: {error}") from None


def _key(session: Session, kind: str, report: Report) -> str:
    """The same push asked again is the same question."""
    parts = [
        kind,
        session.repo.name,
        *(f"{each.old} {each.new} {each.ref}" for each in session.push.commands),
        report.snippet,
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# --- upstream -------------------------------------------------------------------------------------------------------


async def _forward(session: Session, quarantine: Quarantine, taken: list[Command]) -> None:
    """To upstream, then into the mirror."""
    mirror, commands = session.mirror, session.push.commands
    if mirror.credentials.missing:
        raise PushRefused("git_upstream_refused", "no credential", mirror.credentials.missing)
    lost = [command for command in taken if not command.creates]
    await backups.keep(mirror, lost)
    if not session.on_leave():
        raise PushRefused(
            "spool_unavailable", "not recorded", "it cannot be written down what leaves: tell the operator"
        )
    said: list[str] = []
    porcelain = b""
    async with mirror.credentials.open() as access:
        try:
            porcelain = await mirror.git.run(
                *access.args, *AS_IT_IS, "push", "--porcelain", "--no-verify", "--no-signed",
                *_flags(commands, taken), mirror.upstream.url, *(_refspec(command) for command in commands),
                cwd=mirror.path, env=access.env | quarantine.env, extra=access.extra, online=True,
                idle=UPSTREAM_SECONDS,
                ok=(0, 1), on_line=lambda line: said.append(line.decode(errors="replace")) if len(said) < 200 else None,
            )  # fmt: skip
        except GitFailed as error:
            await session.tell(*_theirs(said))
            reason = next(
                (line for line in reversed(error.said.splitlines()) if line.startswith(("fatal", "error"))), ""
            )
            raise PushRefused(
                "git_upstream_refused", "upstream cannot be reached",
                f"upstream: {mirror.credentials.trouble or reason or error.what}",
            ) from None  # fmt: skip
    await session.tell(*_theirs(said))
    results = decide.reasons(porcelain.decode(errors="replace"), [command.ref for command in commands])
    refused = {command.ref: results.get(command.ref, "upstream said nothing about it") for command in commands}
    if any(refused.values()):
        raise PushRefused(
            "git_upstream_refused", "atomic push failed", refs={ref: why for ref, why in refused.items() if why}
        )
    # it is so, whatever becomes of the mirror: what does not get into it comes with the next fetch
    changes = [(each.ref, each.new, each.old) for each in commands]
    taking = spawn(mirror.take_in(quarantine.objects, changes), name="git-take-in", on_error=lambda _: None)
    await _report(session, None)
    try:
        await taking
        await mirror.tidy()
    except (GitFailed, OSError) as error:
        log.warning("%s: a push is upstream, but not in the mirror: %s", mirror.name, error)


def _flags(commands: tuple[Command, ...], taken: list[Command]) -> list[str]:
    flags = ["--atomic"] if len(commands) > 1 else []
    # exactly what was looked at is taken away or begun, whatever came in between
    flags += [f"--force-with-lease={each.ref}:{each.old}" for each in taken if not each.creates]
    return flags + [f"--force-with-lease={each.ref}:" for each in commands if each.creates]


def _refspec(command: Command) -> str:
    return f":{command.ref}" if command.deletes else f"{command.new}:{command.ref}"


def _theirs(said: list[str]) -> list[str]:
    """What upstream itself said."""
    return [line.removeprefix("remote:").strip() for line in said if line.startswith("remote:")]


async def _report(session: Session, refused: PushRefused | None) -> None:
    """report-status: what became of each reference."""
    lines = [packet(b"unpack ok\n")]
    if refused is not None and refused.code in ("git_bad_pack", "git_push_too_large"):
        lines = [packet(f"unpack {refused.why}\n".encode())]
    for command in session.push.commands:
        if refused is None:
            lines.append(packet(f"ok {command.ref}\n".encode()))
        else:
            why = session.masked(refused.refs.get(command.ref, refused.why))
            lines.append(
                packet(f"ng {command.ref} {''.join(c if c.isprintable() else '?' for c in why)[:300]}\n".encode())
            )
    session.stream.keepalive = b""
    session.reported = True
    session.on_report()
    data = b"".join(lines) + FLUSH
    if {"report-status", "report-status-v2"} & session.push.capabilities:
        if session.banded:
            for piece in band(1, data):
                await session.stream.put(piece)
        else:
            await session.stream.put(data)
    if session.banded:
        await session.stream.put(FLUSH)
    await session.stream.end()


async def refuse_whole(session: Session, refused: PushRefused) -> None:
    """Report a push that was not even read."""
    await session.stream.begin(200, "application/x-git-receive-pack-result")
    session.code, session.reason = refused.code, refused.reason
    await session.tell(*(f"carboy: {line}" for line in refused.lines))
    await _report(session, refused)
