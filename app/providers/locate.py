"""Finds an agent CLI on this host and what of it a bottle must see. Reads files; runs at most `PROGRAM --version`.

The CLIs come from npm (a native binary or a script for node), from an installer of their own, or from the system. A
local bottle sees /usr and nothing else of the host, so what lies elsewhere is mounted read-only below /opt/carboy:
the same place for everyone, which tells a bottle nothing about the operator's home.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.backends.base import Mount
from app.errors import CarboyError
from app.paths import Paths
from app.providers import node
from app.providers.base import Found
from app.providers.node import NATIVE, VERSION, first_bytes, numbers

INSIDE = "/opt/carboy"
MACHINES = {"x86_64": ("x64", "x86_64"), "aarch64": ("arm64", "aarch64"), "arm64": ("arm64", "aarch64")}
"""Names of a machine in npm packages and in target triples."""


@dataclass(frozen=True)
class Recipe:
    """Where one CLI may be. `package` is its npm package; `places` are files below the home folder."""

    program: str
    package: str
    title: str
    install_hint: str
    places: tuple[str, ...] = ()
    tested: tuple[tuple[int, ...], tuple[int, ...]] = ((0,), (10**6,))
    """Versions from the first up to, but without, the second: an older one is refused, a newer one warned of."""
    tried: str = ""
    """The version that the end-to-end tests ran with."""
    native: str = "{package}-{platform}/{program}"
    """Where the native binary of npm's platform package lies, below node_modules."""
    marker: str = ""
    """A file beside the native binary's folder: where it is, all of its folder belongs to the program."""
    node: tuple[int, ...] = ()
    """The oldest node that runs the script, where the CLI is one; any will do where it is empty."""
    node_options: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Program:
    """A file that can be run as it is, or by node."""

    path: Path
    script: bool
    root: Path | None = None
    """The folder of its npm package."""


def locate(recipe: Recipe, environ: dict[str, str]) -> Found:
    """The first candidate that can be run inside a bottle.

    Raises CarboyError with the command that installs it; one that was found but cannot be used is named.
    """
    passed, hint, old = list[str](), recipe.install_hint, list[CarboyError]()
    for candidate in candidates(recipe, environ):
        program = _resolve(candidate, recipe)
        if program is not None:
            try:
                return _found(program, candidate, recipe, environ)
            except CarboyError as error:
                passed.append(error.message)
                hint = error.hint
                old += [error] if error.code == "provider_version" else []
        elif candidate.exists():
            passed.append(f"{candidate} is a wrapper that cannot be followed")
    if old:
        raise old[0]
    detail = f" ({'; '.join(passed)})" if passed else ""
    raise CarboyError(f"{recipe.title} was not found{detail}", hint, "provider_missing")


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
    start = first_bytes(real)
    if not start:
        return None
    root = _package_root(real, recipe)
    if start.startswith(NATIVE):
        return _Program(real, script=False, root=root)
    native = _platform_binary(root, recipe) if root is not None else None
    if native is not None:
        return _Program(native, script=False, root=root)
    if start.startswith(b"#!") and b"node" in start.split(b"\n", 1)[0]:
        return _Program(real, script=True, root=root)
    beside = real.parent / "node_modules" / ".bin" / recipe.program
    return _resolve(beside, recipe, follow=False) if follow and beside.exists() else None


def _platform_binary(root: Path, recipe: Recipe) -> Path | None:
    """The native binary of npm's platform package, which the wrapper's install script links in if it may run."""
    system = os.uname().sysname.lower()
    short, long = MACHINES.get(os.uname().machine, ("", ""))
    place = recipe.native.format(
        package=recipe.package,
        program=recipe.program,
        platform=f"{system}-{short}",
        triple=f"{long}-apple-darwin" if system == "darwin" else f"{long}-unknown-linux-musl",
    )
    hoisted = root.parents[recipe.package.count("/")]
    for folder in (hoisted, root / "node_modules"):
        if first_bytes(folder / place).startswith(NATIVE):
            return Path(os.path.realpath(folder / place))
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
    version = _version(program, recipe, environ)
    warnings = _judged(version, candidate, recipe)
    inside, mounts = _inside(program, recipe)
    if not program.script:
        return Found(inside, version, mounts, host_path=str(candidate), warnings=warnings)
    try:
        interpreter = node.find(environ, recipe.node)
    except CarboyError as error:
        raise CarboyError(f"{recipe.title} at {candidate}: {error.message}", error.hint, error.code) from error
    node_inside, node_mounts = _place(interpreter, interpreter, f"{INSIDE}/node")
    mounts = (*mounts, *node_mounts)
    return Found(
        node_inside,
        version,
        mounts,
        leading=(*recipe.node_options, inside),
        host_path=str(candidate),
        warnings=warnings,
    )


def _inside(program: _Program, recipe: Recipe) -> tuple[str, tuple[Mount, ...]]:
    """Path inside and mounts: a native binary alone or with its own folder; of a script its package."""
    path, shown = program.path, program.path
    if program.script and program.root is not None:
        shown = _with_dependencies(program.root)
    elif not program.script and recipe.marker and (path.parent.parent / recipe.marker).is_file():
        shown = path.parent.parent
    return _place(path, shown, f"{INSIDE}/{recipe.program}")


def _with_dependencies(root: Path) -> Path:
    """The package's folder where all it depends on lies in it (`npm install -g`), else the outermost node_modules."""
    needs = _package(root).get("dependencies")
    names = list(needs) if isinstance(needs, dict) else []
    if all((root / "node_modules" / name).is_dir() for name in names):
        return root
    return next((folder for folder in reversed(root.parents) if folder.name == "node_modules"), root)


def _place(path: Path, shown: Path, target: str) -> tuple[str, tuple[Mount, ...]]:
    """`path` as the bottle sees it, when `shown` (itself or a folder around it) is mounted below `target`."""
    if path.is_relative_to("/usr"):
        return str(path), ()
    if shown == path:
        inside = f"{target}/{target.rpartition('/')[2]}"
        return inside, (Mount(path, inside),)
    if shown.name == "node_modules":  # node finds packages by this name
        target = f"{target}/node_modules"
    return f"{target}/{path.relative_to(shown)}", (Mount(shown, target),)


def _version(program: _Program, recipe: Recipe, environ: dict[str, str]) -> str:
    """From package.json, else from the file's name (native installs: versions/2.1.3), else by asking the program."""
    for folder in (program.root, *program.path.parents[:6]):
        package = _package(folder) if folder is not None else {}
        if str(package.get("name", "")).startswith(recipe.package):
            return str(package.get("version", ""))
    if VERSION.fullmatch(program.path.name):
        return program.path.name
    return node.version(program.path, environ)


def _judged(version: str, candidate: Path, recipe: Recipe) -> tuple[str, ...]:
    """One warning where this version was never tried, or is not known. Raises CarboyError where it is too old."""
    low, high = recipe.tested
    span = f"{_dotted(low)} up to {_dotted(high)}"
    if not version:
        return (f"the version of {recipe.title} could not be found; tried are {span}",)
    install = f"`npm install -g {recipe.package}@{recipe.tried or 'latest'}`"
    if numbers(version) < low:
        raise CarboyError(
            f"{recipe.title} {version} at {candidate} is too old: carboy works with {_dotted(low)} and newer",
            f"Install the version that carboy was tried with: {install}",
            "provider_version",
        )
    if numbers(version) < high:
        return ()
    return (f"{recipe.title} {version} was never tried with carboy; tried are {span}: {install}",)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
