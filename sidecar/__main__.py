"""A sidecar's process: takes its configuration from the control channel, locks itself in, serves until told to stop.

`run(sock)` is what the zygote's child calls; `python -m sidecar --fd N` does the same for a freshly started process.
It outlives the controller: after the inherited channel is gone the next controller dials the control socket.
"""

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

import uvloop
from pydantic import ValidationError

from sidecar import confine, prepared, scan_worker
from sidecar.allowance import Allowance
from sidecar.contract import DecisionBody, Inquiry, Policy, SidecarConfig
from sidecar.control import Answer, Channel, Listener, serve
from sidecar.egress.proxy import Proxy
from sidecar.egress.tls import system_authorities
from sidecar.framing import close_fds
from sidecar.gitgate import runner
from sidecar.gitgate.repositories import Repositories
from sidecar.secret import Secret
from sidecar.spool import SpoolWriter
from sidecar.tasks import spawn

log = logging.getLogger(__name__)

CONFIGURE_SECONDS = 60.0
NOTE_SECONDS = 0.01
"""Written events are announced together; the operator's log follows within a blink."""


SWITCH_SECONDS = 0.0003
"""How long a scan on another thread may keep the interpreter from the event loop: streams go on meanwhile. With a
millisecond their events come a fifth later (`tests.bench streams`); the scan takes as long with either."""


def preload() -> None:
    """What a zygote does before it forks sidecars, beside `prepared.prepare`: parse the host's trusted authorities."""
    system_authorities()


def write_logs() -> None:
    """Have them written to standard error. In the zygote: each of its children would take two thirds of a megabyte for
    it."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


class Sidecar:
    """The ops of docs/architecture.md, on every channel that proved itself."""

    def __init__(self, missing: list[str], runner: socket.socket | None = None) -> None:
        self._missing = missing
        self._runner = runner
        self._gate: Repositories | None = None
        self._proxy: Proxy | None = None
        self._spool: SpoolWriter | None = None
        self._control: Listener | None = None
        self._channels: set[Channel] = set()
        self._announce: asyncio.TimerHandle | None = None
        self.stopped = asyncio.Event()

    @property
    def configured(self) -> bool:
        return self._proxy is not None

    @property
    def outlives(self) -> bool:
        """True where somebody else can dial it once its starter is gone."""
        return self._control is not None

    def adopt(self, channel: Channel) -> None:
        """Notes go to this channel too, and its end changes nothing but that."""
        self._channels.add(channel)
        channel.on_close = lambda: self._channels.discard(channel)

    async def handle(self, op: str, body: dict[str, Any], fds: list[int]) -> Answer:
        try:
            match op:
                case "configure":
                    return await self._configure(body, fds)
                case "listen":
                    return await self._listen(fds)
                case "policy":
                    return self._set_policy(body)
                case "secrets":
                    secrets = {str(name): Secret(str(value)) for name, value in body.get("secrets", {}).items()}
                    await self._ready().set_secrets(secrets)
                    return {}
                case "ack":
                    self._acknowledge(body)
                    return {}
                case "decision":
                    return {"known": self._ready().desk.decide(_validated(DecisionBody, body))}
                case "allowance":
                    return self._set_allowance(body)
                case "inquire":
                    return (await self._ready().inquire(_validated(Inquiry, body))).model_dump(mode="json")
                case "health":
                    return {"ok": True, "pid": os.getpid(), "missing": self._missing, **self._ready().health()}
                case "stop":
                    self.stopped.set()
                    return {}
                case _:
                    raise ValueError(f"unknown op {op[:40]!r}")
        finally:
            close_fds(fds)

    async def close(self) -> None:
        if self._proxy is not None:
            await self._proxy.close()
        if self._gate is not None:
            await self._gate.close()
        if self._control is not None:
            await self._control.close()
        for channel in list(self._channels):
            await channel.drain()
            channel.close()
        if self._spool is not None:
            self._spool.close()

    def _ready(self) -> Proxy:
        if self._proxy is None:
            raise ValueError("not configured yet")
        return self._proxy

    async def _configure(self, body: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        if self._proxy is not None or not fds:
            raise ValueError("configure comes once, with the spool folder's descriptor")
        config = _validated(SidecarConfig, body)
        self._spool = SpoolWriter(os.dup(fds[0]), self._written)
        folder = str(Path(config.control_socket).parent) if config.control_socket else None
        self._gate = await self._make_gate(config, folder)
        proxy = Proxy(config, self._spool, tell=self._note, gate=self._gate)
        if config.control_socket:
            token = config.control_token
            self._control = await serve(config.control_socket, lambda given: Secret(given) == token, self._accepted)
        # its sockets stand, and their folder is closed to it: the session holder's is there as well
        self._missing += confine.lock_down(fds[0], [config.git.folder] if config.git and config.git.folder else [])
        if self._gate is not None:
            self._missing += await self._open_gate(self._gate)
        self._proxy = proxy
        if len(fds) > 1:
            await self._listen(fds[1:])
        gc.collect()
        gc.freeze()
        return {"pid": os.getpid(), "missing": self._missing, "listening": len(fds) > 1}

    async def _make_gate(self, config: SidecarConfig, folder: str | None) -> Repositories | None:
        """The git gate, where there are repositories; where there are none its runner ends."""
        if config.git is None or not config.git.repos or folder is None or self._runner is None:
            if self._runner is not None:
                self._runner.close()
            return None
        return await Repositories.make(config, Path(folder))

    async def _open_gate(self, gate: Repositories) -> list[str]:
        assert self._runner is not None
        channel = Channel(self._runner)
        missing = await gate.open(channel)
        spawn(self._end_with(channel), name="git-runner")
        return missing

    async def _end_with(self, channel: Channel) -> None:
        """Another runner cannot be started from here: a fresh sidecar has one."""
        await channel.wait_closed()
        if not self.stopped.is_set():
            log.error("the process that runs git has ended")
            self.stopped.set()

    def _accepted(self, channel: Channel) -> Any:
        self.adopt(channel)
        return self.handle

    async def _listen(self, fds: list[int]) -> dict[str, Any]:
        if not fds:
            raise ValueError("listen comes with the listening socket")
        await self._ready().listen(socket.socket(fileno=os.dup(fds[0])))
        return {}

    def _set_policy(self, body: dict[str, Any]) -> dict[str, Any]:
        proxy = self._ready()
        try:
            policy = _validated(Policy, body.get("policy", body))
        except ValueError as error:
            proxy.journal.notice("error", "policy_rejected", f"a new policy is not usable, the last one stays: {error}")
            raise
        proxy.set_policy(policy)
        return {"version": policy.version}

    def _set_allowance(self, body: dict[str, Any]) -> dict[str, Any]:
        proxy, given = self._ready(), body.get("allowance")
        try:
            allowance = _validated(Allowance, given) if given is not None else None
        except ValueError as error:
            # the last one stays, until it expires
            proxy.journal.notice("error", "allowance_rejected", f"a new allowance is not usable: {error}")
            raise
        return proxy.set_allowance(allowance).model_dump(mode="json")

    def _acknowledge(self, body: dict[str, Any]) -> None:
        upto = body.get("upto", body.get("segment", 0))
        if not isinstance(upto, int) or self._spool is None:
            raise ValueError("ack needs `upto`, a segment's number")
        self._spool.acknowledge(upto)

    def _written(self, segment: int, offset: int) -> None:
        if self._announce is None:
            self._announce = asyncio.get_running_loop().call_later(NOTE_SECONDS, self._tell)

    def _tell(self) -> None:
        self._announce = None
        if self._spool is not None:
            self._note("spooled", {"segment": self._spool.segment, "offset": self._spool.offset})

    def _note(self, name: str, body: dict[str, Any]) -> None:
        for channel in list(self._channels):
            channel.note(name, body)


def _validated[T: (SidecarConfig, Policy, DecisionBody, Allowance, Inquiry)](kind: type[T], body: dict[str, Any]) -> T:
    """`body` as `kind`. Raises ValueError without any of its values: they may be secrets."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False)]
        raise ValueError("; ".join(problems)[:900]) from None


async def _main(sock: socket.socket, missing: list[str], runner: socket.socket) -> None:
    sidecar = Sidecar(missing, runner)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, sidecar.stopped.set)
    channel = Channel(sock, handler=sidecar.handle)
    sidecar.adopt(channel)
    left = spawn(_end_where_nobody_comes(sidecar, channel), name="starter-gone")
    await sidecar.stopped.wait()
    left.cancel()
    await sidecar.close()


async def _end_where_nobody_comes(sidecar: Sidecar, channel: Channel) -> None:
    """A sidecar whose starter vanished before it was configured, or that nobody else can dial, has no purpose."""
    await asyncio.wait([spawn(channel.wait_closed(), name="channel-end")], timeout=CONFIGURE_SECONDS)
    if sidecar.configured and not sidecar.outlives:
        await channel.wait_closed()
    if not (sidecar.configured and sidecar.outlives):
        sidecar.stopped.set()


def run(sock: socket.socket) -> NoReturn:
    """Be a sidecar on `sock`, to the end of this process. The caller has no threads and no event loop."""
    # before anything is given up, since the sidecar itself starts and executes nothing; and before anything else: what
    # it has written to by then is memory that these two share with no other bottle's
    git_runner = runner.start()
    scan_worker.start()  # after it: the texts that these two share are no business of git's
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.umask(0o077)
    sys.setswitchinterval(SWITCH_SECONDS)
    missing = confine.isolate()
    uvloop.run(_main(sock, missing, git_runner))
    raise SystemExit(0)


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="sidecar", description="Runs one bottle's sidecar on an inherited socket.")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the control channel")
    fd = parser.parse_args().fd
    prepared.prepare()
    write_logs()
    run(socket.socket(fileno=fd))


if __name__ == "__main__":
    main()
