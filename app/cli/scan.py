"""`carboy scan`: the engine that every request goes through, over a file or stdin. No controller, no network; of what
is found only a redacted picture is shown. A bottle's secrets are read from where a launch reads them, into this process
alone: their names are shown, never their values."""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from app.cli.output import json_option, line, note, print_json, table
from app.core.text import printable
from app.errors import CarboyError
from app.paths import Paths

if TYPE_CHECKING:
    from app.secrets import Located
    from sidecar.dlp.finding import Finding

MAX_BYTES = 64 * 1024 * 1024
"""As large as a request body may be."""
BLOCKED = 3


_BOUNDARY = re.compile(rb"(?:\r?\n)*--([!-~]{1,70})\r?\n[Cc]ontent-[!-9;-~]{1,40}:")
"""How a multipart body begins that was saved without its header."""


@click.command()
@click.argument("file", default="-", type=click.Path(dir_okay=False))
@click.option("--entropy", is_flag=True, help="Warn of runs close to random as well.")
@click.option("--bottle", metavar="NAME", help="Look for the secrets of this bottle file as well.")
@click.option("--type", "content_type", metavar="TYPE", help="Read it as a body with this Content-Type.")
@click.option("--encoding", metavar="NAME", help="Take this Content-Encoding off first: gzip, br, zstd, deflate.")
@json_option
def scan(
    file: str, entropy: bool, bottle: str | None, content_type: str | None, encoding: str | None, as_json: bool
) -> None:
    """What the outbound and inbound scans find in FILE, or in what comes on stdin. Exit code 3 where it would be
    stopped."""
    secrets = {} if bottle is None else _secrets(bottle)
    parts = _parts(_read(file), content_type, encoding)
    findings = _findings(parts, secrets, entropy=entropy)
    blocked = any(finding["severity"] == "block" for finding in findings)
    sources = {name: located.source for name, located in secrets.items()}
    if as_json:
        print_json({"file": file, "blocked": blocked, "findings": findings, "secrets": sources})
    elif not findings:
        line("nothing found")
    else:
        names = ("severity", "location", "code", "title", "evidence")
        rows = [tuple(printable(str(each[name]), 100) for name in names) for each in findings]
        print(table(rows, ("", "WHERE", "CODE", "WHAT", "EVIDENCE")))
    if sources and not as_json:
        note("Secrets looked for: " + ", ".join(f"{name} ({source})" for name, source in sources.items()))
    if blocked:
        if not as_json:
            note("This would be stopped")
        raise click.exceptions.Exit(BLOCKED)


def _secrets(bottle: str) -> dict[str, "Located"]:
    """Every secret that a launch of this bottle file would take, with its value where there is one."""
    from app.core.repositories import needed_secrets, repositories
    from app.core.schema import EnvPrompt, EnvSecret
    from app.manifests.launch import resolve
    from app.processes.private import keep_to_itself
    from app.providers.registry import provider
    from app.secrets import locate
    from app.settings import load_settings
    from sidecar.secret import Secret

    keep_to_itself()
    paths = Paths.resolve()
    manifest = resolve(paths, agent=None, bottles=(bottle,), cwd=None, settings=load_settings(paths).settings)
    chosen = provider(manifest.bottle.agent_provider.template or "shell")
    names = {credential.token_ref for credential in chosen.credentials(manifest)}
    names |= {route.auth.token_ref for route in manifest.bottle.egress.routes if route.auth is not None}
    env = manifest.bottle.env
    names |= {value.secret for value in env.values() if isinstance(value, EnvSecret)}
    names |= {name for name, value in env.items() if isinstance(value, EnvPrompt)}
    names |= set(needed_secrets(repositories(manifest)[0]))
    environment = {name: Secret(os.environ[name]) for name in names if os.environ.get(name)}
    return locate(sorted(names), environment=environment)


def _parts(data: bytes, content_type: str | None, encoding: str | None) -> list[tuple[str, bytes]]:
    """What a receiver would read: all of it, and each part of a multipart body."""
    from sidecar.dlp import decode

    if content_type is None and (begin := _BOUNDARY.match(data)):
        content_type = f'multipart/form-data; boundary="{begin[1].decode("ascii")}"'
    try:
        plain = decode.decompressed(data, encoding, limit=MAX_BYTES)
        return [(part.name, part.data) for part in decode.parts(plain.data, content_type, plain.beside)]
    except decode.Undecodable as error:
        hint = "A request with this body is refused; check --type and --encoding"
        raise CarboyError(f"It cannot be read: {error}", hint, error.code) from None


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


def _findings(parts: list[tuple[str, bytes]], secrets: dict[str, "Located"], *, entropy: bool) -> list[dict[str, Any]]:
    from sidecar import prepared

    folder = os.environ.setdefault(prepared.VARIABLE, str(Paths.resolve().state / "scans"))
    if sys.stderr.isatty() and not prepared.known(Path(folder)):
        note(prepared.COMPILING)
    prepared.prepare()
    from sidecar.dlp import injection
    from sidecar.dlp.engine import DEFAULT, Engine, EngineConfig
    from sidecar.dlp.finding import Location
    from sidecar.dlp.needles import Known

    known = tuple(Known(name, found.value) for name, found in secrets.items() if found.value is not None)
    engine = Engine.compile(EngineConfig(known))
    if engine.unprotected:
        note(f"Too short to be looked for: {', '.join(engine.unprotected)}")
    detectors = DEFAULT | {"entropy"} if entropy else DEFAULT
    shown: list[dict[str, Any]] = []
    for name, data in parts:
        found = [*engine.scan(data, where=Location("body", name), detectors=detectors).findings]
        if not name:
            found += injection.find(data, where="body")
        shown += [_shown(each, name, data) for each in found]
    return shown


def _shown(each: "Finding", part: str, data: bytes) -> dict[str, Any]:
    at = f"line {data.count(10, 0, each.start) + 1}"
    return {
        "code": each.code,
        "detector": each.detector,
        "kind": each.kind,
        "severity": each.severity,
        "title": each.title,
        "location": f"{part}, {at}" if part else at,
        "start": each.start,
        "end": each.end,
        "view": each.view,
        "evidence": each.snippet,
        "example": each.example,
    }
