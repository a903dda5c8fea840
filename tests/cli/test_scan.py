"""`carboy scan`: what it finds in a file, in a body's parts, and of a bottle file's own secrets."""

import base64
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.paths import Paths
from tests.cli.test_cli_secrets import choose

ROOT = Path(__file__).parents[2]
VALUE = "zK9vR2qLm7Tx4Wp8sBn5Jd3Hc6Qy"
TOKEN = "AKIA" + "Q4KZ7TRWN3YB2MHX"
BOTTLE = """---
egress:
  routes:
    - host: api.example.com
      auth: {scheme: Bearer, token_ref: MY_TOKEN}
    - host: other.example.com
      auth: {scheme: Bearer, token_ref: ABSENT_TOKEN}
---
"""

type Scan = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def scan(carboy_home: Path, tmp_path: Path) -> Scan:
    choose(tmp_path, "memory_keyring.MemoryKeyring")
    env = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    env |= {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    bottles = Paths.resolve().bottles
    bottles.mkdir(parents=True, exist_ok=True)
    (bottles / "mine.md").write_text(BOTTLE)

    def carboy(data: bytes, *arguments: str, **more: str) -> tuple[int, Any, str]:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "app", "scan", *arguments],
            env=env | more, input=data, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        out = ended.stdout.decode()
        assert VALUE not in out + ended.stderr.decode()
        return ended.returncode, json.loads(out) if "--json" in arguments and out else out, ended.stderr.decode()

    return carboy


def test_a_body_of_parts_is_read_as_its_receiver_reads_it(scan: Scan) -> None:
    coded = base64.b64encode(TOKEN.encode()).decode()
    part = f'content-disposition: form-data; name="f"\r\ncontent-transfer-encoding: base64\r\n\r\n{coded}'
    body = f"--b0\r\n{part}\r\n--b0--\r\n".encode()
    for arguments in ((), ("--type", "multipart/form-data; boundary=b0")):
        code, found, _ = scan(body, "--json", *arguments)
        assert code == 3
        assert "part:f, line 1" in {each["location"] for each in found["findings"]}
    code, found, _ = scan(gzip.compress(TOKEN.encode()), "--encoding", "gzip", "--json")
    assert (code, found["findings"][0]["location"]) == (3, "line 1")
    code, _, error = scan(b"no gzip", "--encoding", "gzip")
    assert code == 1
    assert "cannot be read" in error


def test_a_bottles_own_secrets_are_looked_for_and_never_shown(scan: Scan) -> None:
    text = f"nothing but {base64.b64encode(VALUE.encode()).decode()} here".encode()
    assert scan(text)[0] == 0
    code, found, _ = scan(text, "--bottle", "mine", "--json", MY_TOKEN=VALUE)
    assert code == 3
    assert {each["kind"] for each in found["findings"]} == {"MY_TOKEN"}
    assert found["secrets"] == {"ABSENT_TOKEN": "missing", "MY_TOKEN": "environment"}
    code, out, error = scan(text, "--bottle", "mine", MY_TOKEN=VALUE)
    assert (code, "MY_TOKEN" in out) == (3, True)
    assert "ABSENT_TOKEN (missing), MY_TOKEN (environment)" in error


def test_a_bottle_file_that_is_not_there_is_said(scan: Scan) -> None:
    code, _, error = scan(b"x", "--bottle", "nobodys")
    assert code == 1
    assert "nobodys" in error
