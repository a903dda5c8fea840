"""Finds an agent CLI on this host and what of it a bottle must see. Reads files; runs at most `PROGRAM --version`.

The CLIs come from npm (a native binary or a script for node), from an installer of their own, or from the system. A
local bottle sees /usr and nothing else of the host, so what lies elsewhere is mounted read-only below /opt/carboy:
the same place for everyone, which tells a bottle nothing about the operator's home.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.backends.base import Mount
from app.errors import CarboyError
from app.paths import Paths
from app.providers.base import Found

INSIDE = "/opt/carboy"
VERSION = re.compile(r"\d+\.\d+\.\d+")
RUN_TIMEOUT = 10.0
"""Seconds for `--version`; a cold 377 MB binary on a slow disk took 3."""
NATIVE = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""First bytes of ELF, Mach-O and universal Mach-O files."""


@dataclass(frozen=True)
class Recipe:
    """Where one CLI may be. `package` is its npm package; `places` are files below the home folder."""

    program: str
    package: str
    title: str
    install_hint: str
    places: tuple[str, ...] = ()
    tested: tuple[tuple[int, ...], tuple[int, ...]] = ((0,), (10**6,))
    """Versions from the first up to, but without, the second."""


@dataclass(frozen=True)
class _Program:
    """A file that can be run as it is, or by node."""

    path: Path
    script: bool


def locate(recipe: Recipe, environ: dict[str, str]) -> Found:
    """The first candidate that can be run inside a bottle.

    Raises CarboyError with the command that installs it; one that was found but cannot be used is named.
    """
    passed = list[str]()
    for candidate in candidates(recipe, environ):
        program = _resolve(candidate, recipe)
        if program is not None:
            try:
                return _found(program, candidate, recipe, environ)
            except CarboyError as error:
                passed.append(error.message)
        elif candidate.exists():
            passed.append(f"{candidate} is a wrapper that cannot be followed")
    detail = f" ({'; '.join(passed)})" if passed else ""
    raise CarboyError(f"{recipe.title} was not found{detail}", recipe.install_hint, "provider_missing")


def candidates(recipe: Recipe, environ: dict[str, str]) -> Iterator[Path]:
    """Places to look, in order: PATH, the installers' own places, npm's prefixes, carboy's own."""
    home = Path(environ.get("HOME") or "/nonexistent")
    for folder in environ.get("PATH", "").split(os.pathsep):
        if os.path.isabs(folder):  # a relative entry would run whatever the project of the day contains
            yield Path(folder) / recipe.program
    for place in recipe.places:
        yield home / place
    for prefix in _npm_prefixes(environ, home):
        yield prefix / "bin" / recipe.program
        yield prefix / "node_modules" / ".bin" / recipe.program


def _npm_prefixes(environ: dict[str, str], home: Path) -> Iterator[Path]:
    """npm's global prefix without running npm: variable, ~/.npmrc, beside node, usual places, and our own."""
    for name in ("NPM_CONFIG_PREFIX", "npm_config_prefix"):
        if os.path.isabs(environ.get(name, "")):
            yield Path(environ[name])
    try:
        npmrc = (home / ".npmrc").read_text(errors="replace")
    except OSError:
        npmrc = ""
    for match in re.finditer(r"(?m)^\s*prefix\s*=\s*(.+?)\s*$", npmrc):
        value = match[1].replace("${HOME}", str(home))
        yield home / value[2:] if value.startswith("~/") else Path(value)
    node = shutil.which("node", path=environ.get("PATH", ""))
    if node:
        yield Path(os.path.realpath(node)).parent.parent
    yield home / ".npm-global"
    yield Paths.resolve(environ).state / "npm"


def _resolve(candidate: Path, recipe: Recipe, *, follow: bool = True) -> _Program | None:
    """What really runs behind `candidate`: through links, npm's shims and the launchers of local installs."""
    real = Path(os.path.realpath(candidate))
    start = _first_bytes(real)
    if not start:
        return None
    if start.startswith(NATIVE):
        return _Program(real, script=False)
    native = _platform_binary(real, recipe)
    if native is not None:
        return _Program(native, script=False)
    if start.startswith(b"#!") and b"node" in start.split(b"\n", 1)[0]:
        return _Program(real, script=True)
    beside = real.parent / "node_modules" / ".bin" / recipe.program
    return _resolve(beside, recipe, follow=False) if follow and beside.exists() else None


def _first_bytes(path: Path) -> bytes:
    try:
        if not path.is_file() or not os.access(path, os.X_OK):
            return b""
        with path.open("rb") as file:
            return file.read(128)
    except OSError:
        return b""


def _platform_binary(real: Path, recipe: Recipe) -> Path | None:
    """The native binary of npm's platform package, which the wrapper's install script links in if it may run."""
    root = _package_root(real, recipe)
    if root is None:
        return None
    machine = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(os.uname().machine, "")
    scope, _, name = recipe.package.rpartition("/")
    platform = f"{name}-{os.uname().sysname.lower()}-{machine}"
    for folder in (root.parent / platform, root / "node_modules" / scope / platform):
        binary = folder / recipe.program
        if _first_bytes(binary).startswith(NATIVE):
            return Path(os.path.realpath(binary))
    return None


def _package_root(path: Path, recipe: Recipe) -> Path | None:
    """The folder of the npm package that `path` lies in."""
    for folder in path.parents:
        if _package(folder).get("name") == recipe.package:
            return folder
    return None


def _package(folder: Path) -> dict[str, object]:
    try:
        loaded = json.loads((folder / "package.json").read_bytes()[:1_000_000])
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _found(program: _Program, candidate: Path, recipe: Recipe, environ: dict[str, str]) -> Found:
    version = _version(program.path, recipe, environ)
    inside, mounts = _inside(program, recipe)
    if not program.script:
        return Found(inside, version, mounts, host_path=str(candidate), warnings=_warnings(version, recipe))
    node = shutil.which("node", path=environ.get("PATH", ""))
    real = Path(os.path.realpath(node)) if node else None
    if real is None or not _first_bytes(real).startswith(NATIVE):
        raise CarboyError(f"{candidate} needs node, and PATH has no node binary", "Install Node 22", "provider_missing")
    node_inside, node_mounts = _place(real, real, f"{INSIDE}/node")
    return Found(
        node_inside,
        version,
        (*mounts, *node_mounts),
        leading=(inside,),
        host_path=str(candidate),
        warnings=_warnings(version, recipe),
    )


def _inside(program: _Program, recipe: Recipe) -> tuple[str, tuple[Mount, ...]]:
    """Path inside and mounts: a native binary alone; of a script its whole package."""
    root = _package_root(program.path, recipe) if program.script else None
    return _place(program.path, root or program.path, f"{INSIDE}/{recipe.program}")


def _place(path: Path, shown: Path, target: str) -> tuple[str, tuple[Mount, ...]]:
    """`path` as the bottle sees it, when `shown` (itself or a folder around it) is mounted below `target`."""
    if path.is_relative_to("/usr"):
        return str(path), ()
    if shown == path:
        inside = f"{target}/{target.rpartition('/')[2]}"
        return inside, (Mount(path, inside),)
    return f"{target}/{path.relative_to(shown)}", (Mount(shown, target),)


def _version(path: Path, recipe: Recipe, environ: dict[str, str]) -> str:
    """From package.json, else from the file's name (native installs: versions/2.1.3), else by asking the program."""
    for folder in path.parents[:6]:
        package = _package(folder)
        if str(package.get("name", "")).startswith(recipe.package):
            return str(package.get("version", ""))
    if VERSION.fullmatch(path.name):
        return path.name
    env = {name: environ[name] for name in ("HOME", "PATH") if name in environ}
    try:
        ran = subprocess.run(
            [path, "--version"],
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


def _warnings(version: str, recipe: Recipe) -> tuple[str, ...]:
    """One warning where this version was never tried. An unknown version is one."""
    low, high = recipe.tested
    span = f"{'.'.join(map(str, low))} up to {'.'.join(map(str, high))}"
    if not version:
        return (f"the version of {recipe.title} could not be found; tried are {span}",)
    match = VERSION.search(version)
    numbers = tuple(map(int, match[0].split("."))) if match else ()
    if low <= numbers < high:
        return ()
    return (f"{recipe.title} {version} was never tried with carboy; tried are {span}",)
