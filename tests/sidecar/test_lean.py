"""What a zygote leaves out and lets go, in interpreters of their own."""

import asyncio
import subprocess
import sys

import pytest

from sidecar.egress import scanner
from sidecar.egress.scanner import LARGE, Scanner

REPORT = """
import sys
from sidecar import lean
lean.leave_out()
import sidecar.__main__
import sidecar.supervise.server
"""
FILE_PAGES = """
import re
def file_pages():
    return sum(map(int, re.findall(r"^Pss_File: +([0-9]+)", open("/proc/self/smaps_rollup").read(), re.M)))
"""


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_sidecar_has_no_mcp_client() -> None:
    loaded = run(REPORT + "print(*sorted(sys.modules))").split()

    assert "mcp.server.streamable_http_manager" in loaded
    assert not {"mcp.client", "httpx2", "mcp.server.mcpserver"} & set(loaded)


def test_what_was_left_out_is_there_when_it_is_asked_for() -> None:
    said = run(REPORT + "import mcp; print(mcp.ClientSession.__name__, hasattr(mcp, 'nothing'))")

    assert said.split() == ["ClientSession", "False"]


def test_a_package_that_is_loaded_or_missing_stays_as_it_is() -> None:
    said = run(
        "import json\nfrom sidecar import lean\nlean.leave_out(('json', 'no_such_package'))\nprint(json.dumps([1]))"
    )

    assert said.strip() == "[1]"


@pytest.mark.skipif(sys.platform != "linux", reason="reads and changes mappings as Linux has them")
def test_pages_that_are_let_go_come_back_when_they_are_used() -> None:
    said = run(
        REPORT + FILE_PAGES + "before = file_pages(); lean.let_go(); after = file_pages()\n"
        "import decimal, ssl; ssl.create_default_context(); import mcp_types\n"
        "print(before, after, mcp_types.Tool(name='x', input_schema={}).name)"
    ).split()

    assert int(said[1]) < int(said[0]) / 2
    assert said[2] == "x"


MEMORY = """
import resource
from sidecar import lean
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def again():
    before = faults()
    for _ in range(4):
        b"".join([bytes(5 << 20), b"x"])
    return faults() - before
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured by /proc")
def test_freed_memory_is_kept_for_the_next_scan_and_given_back_when_idle() -> None:
    said = run(
        MEMORY + "lean.keep_freed(); again(); kept, held = again(), resident()\n"
        "lean.give_back(); print(kept, held - resident())"
    )
    faults, given = map(int, said.split())

    assert faults < 100  # of some ten thousand pages
    assert given > 4 << 20


async def test_memory_goes_back_once_no_large_text_was_scanned_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    given = asyncio.Event()
    loop = asyncio.get_running_loop()
    give_back = scanner.lean.give_back

    def noted() -> None:
        give_back()
        loop.call_soon_threadsafe(given.set)

    monkeypatch.setattr(scanner.lean, "give_back", noted)
    monkeypatch.setattr(scanner, "IDLE_SECONDS", 0.05)
    work = Scanner([], None)
    await work.compile({})
    assert await work.run(LARGE - 1, lambda _: 1) == 1
    assert work._idle is None  # small ones leave nothing to give back
    assert await work.run(LARGE, lambda _: 2) == 2
    await asyncio.wait_for(given.wait(), 20)
    work.close()
