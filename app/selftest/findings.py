"""What the probes found, and the program that finds it: one command line that carries it all into any bottle that has
a Python. Pure but for reading our own sources."""

import base64
import contextlib
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.core.text import printable

Verdict = Literal["held", "escaped", "untestable"]
PROGRAMS = ("kit", "attack_files", "attack_network", "attack_kernel", "attack_egress")
MARK, END = b"@@", b"done"
MAX_FINDINGS = 1000
LEFT_OUT = ("resources.", "terminal.others")
"""In a bottle in which an agent works: what fills memory and process tables, and its own terminal."""
_START = """
import base64, json, sys, types, zlib
given = json.loads(zlib.decompress(base64.b64decode(sys.argv[1])))
for name, source in given["sources"]:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name + ".py", "exec"), module.__dict__)
sys.modules["kit"].run(given["facts"], given["left_out"])
"""
_FIND_PYTHON = 'for p in python3 python; do command -v $p >/dev/null && exec $p -I -B -c "$@"; done; echo "@@no-python"'


@dataclass(frozen=True)
class Finding:
    probe: str
    verdict: Verdict
    detail: str = ""


def command(facts: dict[str, Any], left_out: Sequence[str] = ()) -> tuple[str, ...]:
    """The command line that runs all probes and prints their findings."""
    folder = Path(__file__).parent
    sources = [(name, (folder / f"{name}.py").read_text()) for name in PROGRAMS]
    given = json.dumps({"sources": sources, "facts": facts, "left_out": list(left_out)}).encode()
    return ("/bin/sh", "-c", _FIND_PYTHON, "sh", _START, base64.b64encode(zlib.compress(given, 9)).decode())


def parse(output: bytes) -> tuple[list[Finding], bool]:
    """The findings in what was printed, and whether the probes came to their end. What else is there is noise."""
    found: list[Finding] = []
    for line in output.split(b"\n"):
        _, mark, text = line.strip().rpartition(MARK)
        if not mark:
            continue
        if text == END:
            return found, True
        with contextlib.suppress(ValueError, KeyError, TypeError):
            one = json.loads(text)
            if one["verdict"] in ("held", "escaped", "untestable") and len(found) < MAX_FINDINGS:
                found.append(Finding(str(one["probe"])[:100], one["verdict"], printable(str(one["detail"]), 300)))
    return found, False


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    counted = Counter(finding.verdict for finding in findings)
    return {verdict: counted[verdict] for verdict in ("held", "escaped", "untestable")}
