"""Where the bottle finds its repositories: `http://git.carboy.internal/<NAME>.git`, git's smart HTTP and nothing else.

First of the addons: a call to it is no egress by itself. What comes of it is written down as an event of its upstream.
"""

# mitmproxy's headers are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import re
import time
from dataclasses import dataclass

from mitmproxy.http import HTTPFlow, Response

from sidecar.dlp.drip import Scattered
from sidecar.dlp.echo_seek import without
from sidecar.dlp.engine import Engine
from sidecar.egress.addons.introspect import GIT_HOST, own_name
from sidecar.egress.addons.journal import Journal
from sidecar.egress.exchange import exchange_of
from sidecar.egress.scanner import Scanner
from sidecar.egress.state import State
from sidecar.gitgate import fetch, limits, push
from sidecar.gitgate.intake import Intake
from sidecar.gitgate.mirror import Unreachable
from sidecar.gitgate.pktline import FLUSH, MAX_HEAD, ZERO, Malformed, packet, read_push
from sidecar.gitgate.repositories import Busy, Repositories, Served
from sidecar.gitgate.stream import Stream, refusal
from sidecar.supervise.desk import Desk

_PATH = re.compile(
    r"/(?P<name>[A-Za-z0-9][A-Za-z0-9_-]{0,99})\.git(?P<other>/=[^?]*?)?/(?P<call>info/refs|git-upload-pack|git-receive-pack)"
)
_SERVICES = ("git-upload-pack", "git-receive-pack")
CAPABILITIES = "report-status delete-refs side-band-64k quiet atomic ofs-delta object-format=sha1 agent=carboy"


@dataclass(frozen=True)
class Call:
    served: Served
    service: str
    advertise: bool


class GitGate:
    """`gate` is None for a bottle without repositories."""

    def __init__(
        self,
        state: State,
        desk: Desk,
        journal: Journal,
        scanner: Scanner,
        scattered: Scattered,
        gate: Repositories | None,
    ) -> None:
        self._state = state
        self._scattered = scattered
        self._scanner = scanner
        if gate is not None:
            gate.secrets = lambda: state.secrets
        self._desk = desk
        self._journal = journal
        self._gate = gate

    # --- hooks ------------------------------------------------------------------------------------------------------

    def requestheaders(self, flow: HTTPFlow) -> None:
        if flow.error is not None or own_name(flow) != GIT_HOST:
            return
        exchange = exchange_of(flow)
        exchange.local, exchange.host = True, GIT_HOST
        call = self._read(flow)
        if isinstance(call, Response):
            flow.response = call
            return
        exchange.detail["git"] = call
        if not call.advertise:
            assert self._gate is not None
            limit = self._gate.max_push if call.service == "git-receive-pack" else limits.MAX_REQUEST
            exchange.intake = Intake(self._gate.folder, limit, self._gate.room)

    def request(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        call = exchange.detail.get("git")
        if exchange.host != GIT_HOST or not isinstance(call, Call) or self._gate is None:
            return
        if call.advertise:
            work = self._advertising(flow, call)
        else:
            assert isinstance(exchange.intake, Intake)
            answer = self._receiving(flow, call, exchange.intake)
            if isinstance(answer, Response):
                flow.response = answer
                return
            work = answer
        exchange.source = work

    # --- reading the call ---------------------------------------------------------------------------------------------

    def _read(self, flow: HTTPFlow) -> Call | Response:
        target, _, query = flow.request.data.path.decode("latin-1").partition("?")
        found = _PATH.fullmatch(target)
        if self._gate is None:
            return refusal("this bottle has no repositories: its bottle file names none in git-gate.repos", 404)
        served = self._gate.repos.get(found["name"]) if found else None
        if found is None or served is None:
            names = ", ".join(sorted(self._gate.repos))
            return refusal(f"no such repository here; there are: {names}", 404)
        other = (found["other"] or "/=")[2:]
        if other:
            return self._elsewhere(served, other, found["call"], query)
        if found["call"] == "info/refs":
            service = query.removeprefix("service=")
            if flow.request.method != "GET" or service not in _SERVICES:
                return refusal("only git's smart protocol is served here")
            return Call(served, service, True)
        if flow.request.method != "POST":
            return refusal("only git's smart protocol is served here", 405)
        wanted = f"application/x-{found['call']}-request"
        if flow.request.headers.get("content-type", "") != wanted:
            return refusal(f"a request of git has the content type {wanted}", 415)
        return Call(served, found["call"], False)

    def _elsewhere(self, served: Served, other: str, call: str, query: str) -> Response:
        """An address that only begins like this repository's: it is another one, for the proxy to decide about."""
        if served.upstream.scheme == "ssh" or call != "info/refs":
            host = f"https://{served.upstream.host}"
        else:
            host = f"{served.upstream.scheme}://{served.upstream.host}"
            usual = {"https": 443, "http": 80}[served.upstream.scheme]
            host += "" if served.upstream.port == usual else f":{served.upstream.port}"
        location = f"{host}/{served.upstream.path}{other}/{call}" + (f"?{query}" if query else "")
        if not location.isascii() or not location.isprintable() or " " in location:
            return refusal("no such repository here", 404)
        return Response.make(301, b"", {"location": location})

    # --- answering ----------------------------------------------------------------------------------------------------

    def _advertising(self, flow: HTTPFlow, call: Call) -> Stream:
        assert self._gate is not None
        gate, version = self._gate, fetch.protocol(flow.request.headers.get("git-protocol", ""))
        mirror = call.served.mirror

        async def work(stream: Stream) -> None:
            try:
                async with gate.slot():
                    await mirror.refresh()
                    if call.service == "git-upload-pack":
                        await fetch.advertise(mirror, version, stream)
                        return
                    names = await mirror.names()
            except (Unreachable, Busy) as error:
                code = "git_upstream_unreachable" if isinstance(error, Unreachable) else "git_busy"
                self._event("FETCH" if "upload" in call.service else "PUSH", call, "error", code, str(error))
                text = self._masked(f"carboy: {call.served.repo.name}: {error}")
                await stream.begin(502 if isinstance(error, Unreachable) else 403, "text/plain")
                await stream.put(text.encode() + b"\n")
                return
            await stream.begin(200, "application/x-git-receive-pack-advertisement")
            await stream.put(packet(b"# service=git-receive-pack\n") + FLUSH + _advertisement(names))

        return Stream(work, _version(flow))

    def _receiving(self, flow: HTTPFlow, call: Call, intake: Intake) -> Stream | Response:
        coding = flow.request.headers.get("content-encoding", "identity").lower()
        if coding not in ("identity", "gzip", "x-gzip"):
            return refusal("an unknown content encoding", 415)
        if call.service == "git-upload-pack":
            return self._fetching(flow, call, intake, zipped=coding != "identity")
        if coding != "identity":
            return refusal("a push is not compressed as a whole", 415)
        head = intake.head(MAX_HEAD)
        if head == FLUSH:  # how git asks whether it may send a large body
            return Response.make(200, b"", {"content-type": "application/x-git-receive-pack-result"})
        try:
            asked = read_push(head)
        except Malformed as error:
            return refusal(f"carboy: {error}", 400)
        return self._pushing(flow, call, intake, asked)

    def _fetching(self, flow: HTTPFlow, call: Call, intake: Intake, *, zipped: bool) -> Stream | Response:
        assert self._gate is not None
        gate, version = self._gate, fetch.protocol(flow.request.headers.get("git-protocol", ""))
        readable = not intake.overflow and (not zipped or intake.unzip(gate.folder, 4 * limits.MAX_REQUEST))
        if intake.crowded:
            return Response.make(200, fetch.refused(f"carboy: {Busy()}"), {"content-type": fetch.RESULT})
        if not readable:
            return refusal("what git asks for is too large, or cannot be read", 413)
        listing, mirror = b"command=ls-refs" in intake.head(64), call.served.mirror
        began, counted = time.perf_counter(), [0]

        def count(size: int) -> None:
            counted[0] += size

        async def work(stream: Stream) -> None:
            try:
                async with gate.slot():
                    await fetch.serve(mirror, version, intake.fd, stream, count, self._masked(mirror.stale))
            except Busy as error:
                await stream.begin(200, fetch.RESULT)
                await stream.put(fetch.refused(f"carboy: {error}"))
                return
            finally:
                intake.close()
            if not listing:
                stale = mirror.stale
                code, reason = ("git_stale", stale) if stale else ("ok", "")
                self._event("FETCH", call, "allow", code, reason, bytes_down=counted[0], ms=_ms(began), status=200)

        return Stream(work, _version(flow), intake.close)

    def _pushing(self, flow: HTTPFlow, call: Call, intake: Intake, asked: push.Push) -> Stream:
        assert self._gate is not None
        assert self._gate.gitleaks is not None
        gate, began = self._gate, time.perf_counter()
        policy = self._state.policy.policy

        async def work(stream: Stream) -> None:
            assert gate.gitleaks is not None
            rules = push.Rules(policy.supervise, policy.hold_seconds)
            number = exchange_of(flow).id
            session = push.Session(
                call.served.repo, call.served.mirror, asked, stream, self._engine, gate.gitleaks, self._desk, rules,
                gate.max_push, self._state.without_secrets, self._masked, self._scattered,
                on_hold=lambda kind: self._event(
                    "PUSH", call, "hold", "git_held", f"waits for the operator: {kind}", phase="open",
                    refs=_refs(asked), request_id=number,
                ),
                on_report=lambda: self._pushed(call, session, intake, began, number),
                on_leave=lambda: self._leaves(call, asked, number),
            )  # fmt: skip
            try:
                if intake.overflow:
                    most = gate.max_push // (1024 * 1024)
                    await push.refuse_whole(session, push.PushRefused(
                        "git_push_too_large", "the push is too large",
                        f"this push is larger than {most} MiB: push in parts, or keep large files elsewhere",
                    ))  # fmt: skip
                elif intake.crowded:
                    raise Busy
                else:
                    async with gate.slot() as slot:
                        session.pause = slot.paused
                        await push.receive(session, intake.fd)
            except Busy as error:
                await push.refuse_whole(session, push.PushRefused("git_failed", "too busy", str(error)))
            finally:
                intake.close()
                if not session.reported:
                    session.on_report()

        return Stream(work, _version(flow), intake.close)

    def _masked(self, text: str) -> str:
        """What upstream said, as the bottle may hear it: upstream was told the credential."""
        engines = self._scanner.engines
        if not text or not self._scanner.holds:
            return text
        return "" if engines is None else without(engines.real, text)

    async def _engine(self) -> Engine:
        """With all secrets of the present moment; waits until the first stands."""
        return await self._scanner.run(0, lambda engines: engines.all)

    def _leaves(self, call: Call, asked: push.Push, number: str) -> bool:
        """Whether that it goes to upstream is on disk."""
        if not self._state.spool.ready():
            return False
        said = "goes to upstream"
        return self._event("PUSH", call, "allow", "ok", said, phase="open", refs=_refs(asked), request_id=number)

    def _pushed(self, call: Call, session: push.Session, intake: Intake, began: float, number: str) -> None:
        broken = session.code == "ok" and not session.reported
        code = "client_closed" if broken else session.code
        decision = "error" if code in ("client_closed", "git_failed") else "allow" if code == "ok" else "deny"
        self._event(
            "PUSH", call, decision, code, session.reason, refs=_refs(session.push), bytes_up=intake.size, ms=_ms(began),
            status=200, detail=session.detail, request_id=number,
        )  # fmt: skip

    def _event(
        self, method: str, call: Call, decision: str, code: str, reason: str, refs: str = "", **values: object
    ) -> bool:
        upstream = call.served.upstream
        path = f"/{call.served.repo.name}.git" + (f" {refs}" if refs else "")
        return self._journal.record(
            decision, code, reason, method=method, scheme="git", host=upstream.host, port=upstream.port, path=path,
            protocol="git", **values,
        )  # fmt: skip


def _advertisement(names: dict[str, str]) -> bytes:
    """What a push is told that there is. Nothing of it when there is nothing."""
    lines = [f"{oid} {name}" for name, oid in names.items()] or [f"{ZERO} capabilities^{{}}"]
    lines[0] += f"\0{CAPABILITIES}"
    return b"".join(packet(line.encode(errors="surrogateescape") + b"\n") for line in lines) + FLUSH


def _refs(asked: push.Push) -> str:
    return " ".join(command.ref for command in asked.commands[:5])[:300]


def _version(flow: HTTPFlow) -> str:
    return "1.1" if flow.request.http_version == "HTTP/1.1" else "1.0"


def _ms(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
