"""What a zygote leaves out and lets go, in interpreters of their own."""

import subprocess
import sys

import pytest

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
