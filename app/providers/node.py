"""Finds a node that is new enough for a script, among all that this host has. Reads files; runs `node --version`.

The first on PATH is often an old one while a version manager keeps newer ones beside it. Shims are passed over: a
bottle would not see what they start.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from app.errors import CarboyError
from app.paths import Paths

VERSION = re.compile(r"\d+\.\d+\.\d+")
RUN_TIMEOUT = 10.0
"""Seconds for `--version`; a cold 377 MB binary on a slow disk took 3."""
NATIVE = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""First bytes of ELF, Mach-O and universal Mach-O files."""
KEPT = (
    ".nvm/versions/node/*/bin/node",
    ".local/share/fnm/node-versions/*/installation/bin/node",
    ".volta/tools/image/node/*/bin/node",
    ".asdf/installs/nodejs/*/bin/node",
    ".local/share/mise/installs/node/*/bin/node",
)
"""Where version managers keep theirs, below the home folder."""


def find(environ: dict[str, str], least: tuple[int, ...]) -> Path:
    """The first node of version `least` or newer; the first of all where `least` is empty.

    Raises CarboyError with the command that installs one.
    """
    seen = dict[Path, str]()
    for candidate in candidates(environ):
        real = Path(os.path.realpath(candidate))
        if real in seen or not real.name.startswith("node") or not first_bytes(real).startswith(NATIVE):
            continue
        seen[real] = version(real, environ) if least else ""
        if numbers(seen[real]) >= least:
            return real
    wanted = ".".join(map(str, least)) + " or newer is" if least else "is"
    have = ", ".join(f"{path} is {found or 'of an unknown version'}" for path, found in seen.items()) or "there is none"
    own = Paths.resolve(environ).state / "npm"
    raise CarboyError(
        f"node {wanted} needed; {have}",
        f"Install Node 22, or one for carboy alone: `npm install --prefix {own} node@22`",
        "provider_missing",
    )


def candidates(environ: dict[str, str]) -> Iterator[Path]:
    """PATH, what version managers keep (the newest first), and carboy's own prefix."""
    for folder in environ.get("PATH", "").split(os.pathsep):
        if os.path.isabs(folder):
            yield Path(folder) / "node"
    home = Path(environ.get("HOME") or "/nonexistent")
    for pattern in KEPT:
        yield from sorted(home.glob(pattern), key=lambda path: numbers(str(path)), reverse=True)
    own = Paths.resolve(environ).state / "npm"
    yield own / "bin/node"
    yield own / "node_modules/.bin/node"


def first_bytes(path: Path) -> bytes:
    """What an executable file begins with; nothing where it is none, or cannot be read."""
    try:
        if not path.is_file() or not os.access(path, os.X_OK):
            return b""
        with path.open("rb") as file:
            return file.read(128)
    except OSError:
        return b""


def version(program: Path, environ: dict[str, str]) -> str:
    """What `program --version` says, as numbers; empty where it says nothing of the kind."""
    env = {name: environ[name] for name in ("HOME", "PATH") if name in environ}
    try:
        ran = subprocess.run(
            [program, "--version"],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=RUN_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = VERSION.search(ran.stdout[:1000].decode(errors="replace"))
    return match[0] if match else ""


def numbers(text: str) -> tuple[int, ...]:
    """The first version in `text`, comparable; empty, and so older than any, where there is none."""
    match = VERSION.search(text)
    return tuple(map(int, match[0].split("."))) if match else ()
