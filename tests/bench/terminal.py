"""The agent's terminal: parsing speed, and how long a key's echo takes while the egress log is flooded.

`CARBOY_BASELINE_EMULATOR=FILE.py` (a module with `Emu(cols, rows)` and `feed`) is measured in the same run.
"""

import asyncio
import contextlib
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual import events
from textual.app import App, ComposeResult

from app import themes
from app.core.journal import Entry
from app.terminal.emulator import Emulator
from app.widgets.event_log import EventLog
from app.widgets.terminal_pane import TerminalPane
from tests.terminal import samples
from tests.terminal.ptys import PtyStream

SIZE = 3_000_000
PIECE = 16_384
EVENTS_A_SECOND = 5_000
KEYS = 200


def speed(make: Callable[[], Any], data: bytes) -> float:
    """MB per second of CPU, the best of three: the clock on the wall measures the neighbours too."""
    best = 0.0
    for _ in range(3):
        term = make()
        began = time.process_time()
        for at in range(0, len(data), PIECE):
            term.feed(data[at : at + PIECE])
        best = max(best, len(data) / (time.process_time() - began) / 1e6)
    return best


def baseline() -> Callable[[], Any] | None:
    path = os.environ.get("CARBOY_BASELINE_EMULATOR")
    if not path:
        return None
    sys.path.insert(0, str(Path(path).parent))
    spec = importlib.util.spec_from_file_location("baseline_emulator", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda: module.Emu(100, 30)


def parsing() -> None:
    inputs = {
        "agent interface": samples.claude_like(400),
        "plain lines": b"".join(b"%06d the quick brown fox jumps over the lazy dog\r\n" % n for n in range(5000)),
        "coloured lines": samples.scrolling() * 20,
        "wide characters": "中文字符 ".encode() * 8000,
    }
    other = baseline()
    for name, sample in inputs.items():
        data = sample * (SIZE // len(sample) + 1)
        line = f"{name:<18} {speed(lambda: Emulator(100, 30), data):6.1f} MB/s"
        print(line + (f"   baseline {speed(other, data):6.1f} MB/s" if other else ""), flush=True)
    term = Emulator(150, 40)
    term.feed(samples.claude_like(2000))
    began = time.perf_counter()
    redraw = term.redraw()
    took = 1e3 * (time.perf_counter() - began)
    print(f"{'redraw':<18} {took:6.1f} ms for {len(redraw):,} bytes, {term.history} lines back", flush=True)


class Bench(App[None], inherit_bindings=False):
    """Terminal above, egress log below."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self) -> None:
        super().__init__()
        self.register_theme(themes.theme(themes.DEFAULT))
        self.theme = themes.DEFAULT
        self.pane = TerminalPane()
        self.log_view = EventLog()
        self.stream = PtyStream(["/bin/cat"], 24, 80)
        self.seen: Callable[[str], None] = lambda _: None

    def _display(self, screen: Any, renderable: Any) -> None:
        """Turn what is to be drawn into the operator's bytes, as with a real terminal."""
        if hasattr(renderable, "render_segments"):
            self.seen(renderable.render_segments(self.console))
        super()._display(screen, renderable)

    def compose(self) -> ComposeResult:
        yield self.pane
        yield self.log_view

    def on_mount(self) -> None:
        self.pane.focus()

    async def on_terminal_pane_input(self, event: TerminalPane.Input) -> None:
        await self.stream.write(event.data)


def entry(number: int) -> Entry:
    """One allowed request; enough of them for a flood."""
    path, reason = f"/v1/messages/{number}", "allowed by route"
    texts = ("egress", "allow", "", "POST", "api.example.com", 443, path, 200, 900, 1800, 12.5, reason)
    return Entry(number, 1_700_000_000.0 + number, "research-2", *texts, f"r{number}", False, {})


async def echo(flood: bool) -> list[float]:
    """Milliseconds from a key event to the bytes for the operator's terminal, for each of many keys."""
    app = Bench()
    waits: list[float] = []
    async with app.run_test(size=(120, 40)) as pilot:
        written = asyncio.Event()
        wanted = ""

        def spy(data: str) -> None:
            if wanted and wanted in data:
                written.set()

        app.seen = spy
        tasks = [asyncio.get_running_loop().create_task(follow(app))]
        if flood:
            tasks.append(asyncio.get_running_loop().create_task(pour(app)))
        await pilot.pause(0.5)
        for number in range(KEYS):
            wanted = chr(0x4E00 + number)  # a character that nothing else on the screen has
            written.clear()
            began = time.perf_counter()
            app.post_message(events.Key(wanted, wanted))
            async with asyncio.timeout(5):
                await written.wait()
            waits.append(1e3 * (time.perf_counter() - began))
            await asyncio.sleep(0.02 + number % 7 * 0.004)
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    await app.stream.close()
    return waits


async def follow(app: Bench) -> None:
    async for data in app.stream.output():
        await app.pane.feed(data)


async def pour(app: Bench) -> None:
    number, began = 0, time.perf_counter()
    while True:
        due = int((time.perf_counter() - began) * EVENTS_A_SECOND)
        app.log_view.extend(entry(n) for n in range(number, due))
        number = due
        await asyncio.sleep(0.01)


def main() -> None:
    parsing()
    for flood in (False, True):
        waits = sorted(asyncio.run(echo(flood)))
        what = f"echo, {EVENTS_A_SECOND:,} events/s" if flood else "echo, quiet"
        p95 = waits[int(len(waits) * 0.95)]
        print(
            f"{what:<24} median {statistics.median(waits):5.1f} ms   p95 {p95:5.1f} ms   worst {waits[-1]:5.1f} ms",
            flush=True,
        )


if __name__ == "__main__":
    main()
