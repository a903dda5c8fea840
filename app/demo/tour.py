"""Runs the demo: pretend internet, private controller, one bottle; then the TUI on it, or a checked story.

Whatever happens, it ends the bottles and the controller that it started, and removes their folder.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from app.core.model import LIVE, BottleView, LaunchRequest, LaunchStep
from app.core.text import printable
from app.demo import story
from app.demo.home import INDEX_HOST, KEY_NAME, DemoHome, demo_home
from app.demo.pretend.anthropic import HOST as MODEL_HOST
from app.demo.pretend.certificate import pretended
from app.demo.pretend.server import PretendServer, in_thread
from app.errors import CarboyError
from app.tasks import spawn

if TYPE_CHECKING:
    from app.client import Client

SETTLE = 10.0
"""Seconds for the last events to reach the store after the agent's end."""
CONTROL = re.compile(r"\x1b\[[0-9;:?<=>]*[ -/]*[@-~]|\x1b[ -/]*[0-~]")
"""CSI and two-character sequences (ECMA-48, 5.3 and 5.4): all that the demo's agent sends."""
TYPING_SPEED = 0.05
"""Pause between two words of the pretend model, so that one sees it stream."""


def run(*, headless: bool) -> int:
    """The whole tour; the exit code."""
    made = pretended((MODEL_HOST, INDEX_HOST))
    server = PretendServer(story.script(delay=0.0 if headless else TYPING_SPEED), tls=made.tls)
    with _Leaving.heard() as leaving, demo_home() as home, in_thread(server), _environment(home):
        home.write(server.port, made.ca_pem)
        try:
            return leaving.run(_headless(home, server) if headless else _shown(home, leaving))
        finally:
            leaving.clearing = True
            asyncio.run(_end(home))


class _Leaving:
    """A closed terminal or a polite kill ends the demo like any other way of leaving: with everything cleared away.

    An event loop is never broken from within: what was raised there would end in the middle of any task, be printed
    by whoever caught it, and leave the terminal to chance. The loop's work is ended by `how` instead.
    """

    def __init__(self) -> None:
        self.code = 0
        self.clearing = False
        self.how: Callable[[], object] = lambda: None

    @classmethod
    @contextlib.contextmanager
    def heard(cls) -> "Iterator[_Leaving]":
        """Both signals end what `run` runs, once; then the handlers from before are back."""
        leaving = cls()
        before = {number: signal.signal(number, leaving) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            yield leaving
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def __call__(self, number: int, _: object) -> None:
        if self.code or self.clearing:
            return
        self.code = 128 + number
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            sys.exit(self.code)
        loop.call_soon_threadsafe(lambda: self.how())

    def run(self, work: Coroutine[Any, Any, int]) -> int:
        """What `work` returns, or the exit code of the signal that ended it."""

        async def cancellable() -> int:
            task = asyncio.current_task()
            assert task is not None
            self.how = task.cancel
            return await work

        try:
            code = asyncio.run(cancellable())
        except asyncio.CancelledError:
            code = self.code
        return self.code or code


async def _shown(home: DemoHome, leaving: _Leaving) -> int:
    """The bottle, then the app that shows it, until it is left."""
    await _launch(home, headless=False)
    from app.carboy import CarboyApp

    app = CarboyApp()
    leaving.how = app.exit
    await app.run_async()
    return app.return_code or 0


@contextlib.contextmanager
def _environment(home: DemoHome) -> Iterator[None]:
    """Everything in this process, and the controller it starts, works in the demo's home."""
    changed = {"CARBOY_HOME": str(home.root), KEY_NAME: home.key.reveal()}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _request(home: DemoHome, *, headless: bool) -> LaunchRequest:
    script = str(home.project / "agent.sh")
    return LaunchRequest(
        agent="demo",
        command=("sh", script, "--once") if headless else ("sh", script),
        label="demo",
        cwd=str(home.project),
        headless=headless,
        secrets={KEY_NAME: home.key},
    )


async def _launch(home: DemoHome, *, headless: bool) -> BottleView:
    """Start the demo's bottle, saying each step on stderr."""
    async with await _connected(home) as client:
        async for step in client.launch(_request(home, headless=headless)):
            if isinstance(step, BottleView):
                return step
            _say_step(step)
    raise CarboyError("the launch ended without a bottle", "", "launch")


async def _connected(home: DemoHome) -> "Client":
    """The controller's client. A start is seen through even when the demo is to end: nobody could end half of one."""
    from app.client import Client

    start = spawn(Client.connect(home.paths), name="connect", on_error=lambda _: None)  # awaited: it raises there
    try:
        return await asyncio.shield(start)
    except asyncio.CancelledError:
        await asyncio.wait([start])
        raise


def _say_step(step: LaunchStep) -> None:
    """On a terminal also what it is at: the first sidecar of a home takes a while."""
    if step.state == "running" and sys.stderr.isatty():
        detail = f": {step.detail}\n" if step.detail else "…\r"
        print(f"  {step.step}{detail}", end="", file=sys.stderr, flush=True)
    if step.state == "done" and step.ms is not None:
        print(f"  {step.step} {step.ms:.0f} ms", file=sys.stderr)


async def _headless(home: DemoHome, server: PretendServer) -> int:
    from app.client import Client

    view = await _launch(home, headless=True)
    async with await Client.connect(home.paths) as client:
        output = await _watch(client, view.slug)
        ended = await client.wait(view.slug)
        findings = await _findings(client, view.slug)
    sent = [seen.headers.get("x-api-key", "") for seen in server.of(MODEL_HOST)]
    findings += story.key(sent, home.key.reveal(), output)
    findings.append(story.Finding("the agent ended well", ended.exit_code == 0, f"exit code {ended.exit_code}"))
    print()
    for finding in findings:
        print(f"{'held  ' if finding.ok else 'FAILED'}  {finding.what}" + (f": {finding.detail}" * (not finding.ok)))
    return 0 if all(finding.ok for finding in findings) else 1


async def _watch(client: "Client", slug: str) -> str:
    """What the agent shows, printed line by line without its control sequences; the whole text."""
    terminal = await client.terminal(slug, 40, 120)
    whole, rest = "", b""
    try:
        async for data in terminal.output():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                text = _plain(line)
                whole += text + "\n"
                print(text, flush=True)
    finally:
        await terminal.close()
    return whole + _plain(rest)


def _plain(line: bytes) -> str:
    """A line of the agent's as text that a terminal takes as nothing else."""
    return printable(CONTROL.sub("", line.decode(errors="replace").rstrip("\r")), 500)


async def _findings(client: "Client", slug: str) -> list[story.Finding]:
    """The story against the log; it is asked again until the last events have arrived."""
    deadline = asyncio.get_running_loop().time() + SETTLE
    while True:
        events = [event.data for event in await client.log(slug=slug, limit=500) if event.kind == "egress"]
        findings = story.requests(events)
        if all(finding.ok for finding in findings) or asyncio.get_running_loop().time() > deadline:
            return findings
        await asyncio.sleep(0.1)


async def _end(home: DemoHome) -> None:
    """Kill what still runs and end the demo's controller. Errors are passed over: there may be nothing left."""
    from app.client import Client

    with contextlib.suppress(CarboyError, FileNotFoundError):
        async with await Client.connect(home.paths, start=False) as client:
            for view in await client.bottles():
                if view.state in LIVE:
                    await _end_bottle(client, view)
            await client.cleanup()
            await client.shutdown(force=True)
        await _controller_gone(home)


async def _end_bottle(client: "Client", view: BottleView) -> None:
    """Gone, whether it runs, is being launched, or has just come up. What fails must not keep the controller alive."""
    if view.state == "launching":
        with contextlib.suppress(CarboyError):
            await client.cancel_launch(view.session_id)
    with contextlib.suppress(CarboyError):
        await client.kill(view.slug)
        await client.wait(view.slug)


async def _controller_gone(home: DemoHome) -> None:
    """Wait until the controller's lock is free: it must not write into a folder that is being removed."""
    deadline = asyncio.get_running_loop().time() + SETTLE
    with (home.paths.state / "controller.lock").open("rb") as lock:
        while asyncio.get_running_loop().time() < deadline:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(0.05)
            else:
                return
