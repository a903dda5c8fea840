"""What is new in a push is listed as git finds it out: the list is bounded, and its text is never held whole."""

import asyncio
import contextlib
import os
import subprocess
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from sidecar.gitgate import contents, limits
from sidecar.gitgate.git import Running
from sidecar.gitgate.output import Output
from sidecar.gitgate.quarantine import Quarantine
from sidecar.tasks import spawn

LINES = r"""
BEGIN { for (n = 0; n < COUNT; n++) printf "%040d some/folder/of/a/large/repository/with/long/names/f-%d\n", n, n }
"""


class Printing:
    """In git's place a program that prints so many lines."""

    def __init__(self, lines: int) -> None:
        self.script = LINES.replace("COUNT", str(lines))
        self.mirror = self
        self.git = self
        self.path, self.env = Path("/"), dict[str, str]()

    @contextlib.asynccontextmanager
    async def start(self, *_: str, **__: Any) -> AsyncIterator[Running]:
        read, write = os.pipe()
        process = subprocess.Popen(["awk", self.script, "/dev/null"], stdout=write)
        os.close(write)
        ended = spawn(asyncio.to_thread(process.wait), name="awk")
        running = Running(process.pid, ended, Output(read), asyncio.BaseTransport())
        try:
            yield running
        finally:
            running.output.close()
            process.kill()
            await ended


def listing(printing: Printing) -> Any:
    return contents.new_objects(cast(Quarantine, printing), ["HEAD"])


async def test_its_text_is_not_held() -> None:
    printing = Printing(50_000)
    assert len(await listing(printing)) == 50_000
    tracemalloc.start()
    try:
        paths = await listing(printing)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    text = sum(42 + len(path) for path in paths.values())
    assert most - kept < text / 2, (kept, most, text)


@pytest.mark.parametrize("name", ["MAX_OBJECTS", "MAX_PATHS"])
async def test_one_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(limits, name, 1000)
    with pytest.raises(contents.TooMuch, match="push in parts"):
        await listing(Printing(2_000_000_000))
