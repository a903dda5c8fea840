"""`carboy scan`: the engine that every request goes through, over a file or stdin. No controller, no network; of what
is found only a redacted picture is shown."""

import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import click

from app.cli.output import json_option, line, note, print_json, table
from app.core.text import printable
from app.errors import CarboyError
from app.paths import Paths

MAX_BYTES = 64 * 1024 * 1024
"""As large as a request body may be."""
BLOCKED = 3


@click.command()
@click.argument("file", default="-", type=click.Path(dir_okay=False))
@click.option("--entropy", is_flag=True, help="Warn of runs close to random as well.")
@json_option
def scan(file: str, entropy: bool, as_json: bool) -> None:
    """What the outbound and inbound scans find in FILE, or in what comes on stdin. Exit code 3 where it would be
    stopped."""
    findings = _findings(_read(file), entropy=entropy)
    blocked = any(finding["severity"] == "block" for finding in findings)
    if as_json:
        print_json({"file": file, "blocked": blocked, "findings": findings})
    elif not findings:
        line("nothing found")
    else:
        names = ("severity", "location", "code", "title", "evidence")
        rows = [tuple(printable(str(each[name]), 100) for name in names) for each in findings]
        print(table(rows, ("", "WHERE", "CODE", "WHAT", "EVIDENCE")))
    if blocked:
        if not as_json:
            note("This would be stopped")
        raise click.exceptions.Exit(BLOCKED)


def _read(file: str) -> bytes:
    if file == "-":
        return _bounded(sys.stdin.buffer)
    try:
        with Path(file).open("rb") as source:
            return _bounded(source)
    except OSError as error:
        raise CarboyError(
            f"{file} cannot be read: {error.strerror}", "Name a file, or - for stdin", "scan_file"
        ) from None


def _bounded(source: BinaryIO) -> bytes:
    data = source.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise CarboyError("More than 64 MiB cannot be scanned at once", "Scan it in parts", "scan_file")
    return data


def _findings(data: bytes, *, entropy: bool) -> list[dict[str, Any]]:
    from sidecar import prepared

    os.environ.setdefault(prepared.VARIABLE, str(Paths.resolve().state / "scans"))
    prepared.prepare()
    from sidecar.dlp import injection
    from sidecar.dlp.engine import DEFAULT, Engine, EngineConfig
    from sidecar.dlp.finding import Location

    engine = Engine.compile(EngineConfig())
    detectors = DEFAULT | {"entropy"} if entropy else DEFAULT
    found = [*engine.scan(data, where=Location("body"), detectors=detectors).findings]
    found += injection.find(data, where="body")
    return [
        {
            "code": each.code,
            "detector": each.detector,
            "kind": each.kind,
            "severity": each.severity,
            "title": each.title,
            "location": f"line {data.count(10, 0, each.start) + 1}",
            "start": each.start,
            "end": each.end,
            "view": each.view,
            "evidence": each.snippet,
            "example": each.example,
        }
        for each in found
    ]
