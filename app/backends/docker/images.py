"""Images for bottles: the product's recipes and the operator's own Dockerfiles, built once for each content.

A wish is a short text: `recipe:NAME`, `file:/path/Dockerfile`, or `image:REFERENCE` (a snapshot). What a build says is
data of a stranger: bounded, one line at a time.
"""

import asyncio
import hashlib
import io
import os
import re
import tarfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.backends.base import Progress
from app.backends.docker.engine import Engine
from app.core.text import printable
from app.errors import CarboyError, NotFound, disk_full
from app.files import read_bounded

RECIPE, FILE, IMAGE = "recipe:", "file:", "image:"
BASE = "base"
REPOSITORY = "localhost/carboy"
"""No registry's name: what is missing is never fetched from a stranger who took it; and Podman adds none of its own."""
MAX_DOCKERFILE = 1024 * 1024
MAX_CONTEXT = 512 * 1024 * 1024
LAST_LINES = 12
"""Of a build that failed: what the error shows."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_COPIES = re.compile(rb"(?im)^\s*(?:COPY|ADD)\s+(?!--from=)")


@dataclass(frozen=True)
class Build:
    """One image to build: its tag says its content."""

    tag: str
    dockerfile: bytes
    context: Path | None
    args: Mapping[str, str]
    source: str


def describe(wish: str | None) -> str:
    """For a preflight."""
    kind, _, name = (wish or RECIPE + BASE).partition(":")
    texts = {"recipe": f"made from carboy's own recipe `{name}`", "file": f"made from {name}", "image": name}
    return texts.get(kind, name)


async def ensure(
    engine: Engine, wish: str | None, recipes: Path, base: str | None, progress: Progress = lambda _: None
) -> str:
    """The image's id; built first where the engine has none of this content. `base` is what `base` starts from.
    Raises CarboyError (`image_missing`, `image_build`) or NotFound."""
    chosen = wish or RECIPE + BASE
    if chosen.startswith(IMAGE):
        return await _existing(engine, chosen.removeprefix(IMAGE))
    args = {"BASE": base} if base else {}
    if chosen != RECIPE + BASE:
        own = await asyncio.to_thread(_recipe, recipes, BASE, args)
        if chosen.startswith(RECIPE) or b"carboy/base" in _read(Path(chosen.removeprefix(FILE))):
            await _made(engine, own, progress)
            args = {"BASE": own.tag}
    if chosen.startswith(RECIPE):
        build = await asyncio.to_thread(_recipe, recipes, chosen.removeprefix(RECIPE), args)
    else:
        build = await asyncio.to_thread(own_file, Path(chosen.removeprefix(FILE)), args)
    return await _made(engine, build, progress)


def has_recipe(recipes: Path, name: str) -> bool:
    return (recipes / name / "Dockerfile").is_file()


def _recipe(recipes: Path, name: str, args: Mapping[str, str]) -> Build:
    file = recipes / name / "Dockerfile"
    if not file.is_file():
        raise NotFound(f"There is no image recipe {name}", "", "image_missing")
    return own_file(file, args, name=name)


def own_file(file: Path, args: Mapping[str, str], *, name: str = "own") -> Build:
    """What building a Dockerfile means: its folder comes along only where it copies from it. Raises CarboyError."""
    text = _read(file)
    used = {key: value for key, value in args.items() if key.encode() in text}
    context = file.parent if _COPIES.search(text) else None
    digest = hashlib.sha256(text + repr(sorted(used.items())).encode())
    if context is not None:
        for path, info in _files(context):
            digest.update(f"{path.relative_to(context)}\0{info.st_size}\0{info.st_mtime_ns}\n".encode())
    return Build(f"{REPOSITORY}/{name}:{digest.hexdigest()[:16]}", text, context, used, str(file))


def _read(file: Path) -> bytes:
    try:
        return read_bounded(file, MAX_DOCKERFILE)
    except OSError as error:
        raise CarboyError(f"{file} cannot be read: {error}", "Name a Dockerfile that exists", "image_build") from None


def _files(context: Path) -> Iterator[tuple[Path, os.stat_result]]:
    total = 0
    for folder, below, names in os.walk(context):
        below[:] = sorted(name for name in below if name != ".git")
        for name in sorted(names):
            path = Path(folder, name)
            info = path.lstat()
            total += info.st_size
            if total > MAX_CONTEXT:
                raise CarboyError(
                    f"The folder of the Dockerfile, {context}, is larger than {MAX_CONTEXT >> 20} MiB",
                    "Put the Dockerfile into a folder with nothing but what it copies",
                    "image_build",
                )
            yield path, info


async def _existing(engine: Engine, reference: str) -> str:
    return str(await engine.call(lambda client: client.api.inspect_image(reference)["Id"]))


async def _made(engine: Engine, build: Build, progress: Progress) -> str:
    try:
        return await _existing(engine, build.tag)
    except NotFound:
        progress(f"building the image from {build.source}")
    loop = asyncio.get_running_loop()

    def tell(line: str) -> None:
        loop.call_soon_threadsafe(progress, line)

    await engine.call(lambda client: _build(client, build, tell))
    return await _existing(engine, build.tag)


def _build(client: Any, build: Build, tell: Progress) -> None:
    """On a thread. Raises CarboyError with the build's last lines."""
    said: deque[str] = deque(maxlen=LAST_LINES)
    with _context(build) as context:
        stream = client.api.build(
            fileobj=context, custom_context=True, dockerfile="Dockerfile", tag=build.tag, rm=True, forcerm=True,
            decode=True, buildargs=dict(build.args), labels={"carboy.kind": "image"}, timeout=3600,
            network_mode=os.environ.get("CARBOY_BUILD_NETWORK") or None,
        )  # fmt: skip
        for item in stream:
            text = _COLOURS.sub("", str(item.get("stream") or item.get("status") or item.get("error") or ""))
            for line in filter(None, (printable(piece, 300).strip() for piece in text.splitlines())):
                said.append(line)
                tell(line)
            if "error" in item and "no space left" in text.lower():
                raise disk_full("the engine's storage", "Make room there: `docker system df` shows what takes it")
            if "error" in item:
                raise CarboyError(
                    f"The image could not be built from {build.source}: {' | '.join(said)}"[:4000],
                    "Mend the Dockerfile, or set `image_base` in settings.yml where no registry is reachable",
                    "image_build",
                )


def _context(build: Build) -> Any:
    """The build's context as a tar archive, in a temporary file."""
    import tempfile

    out = tempfile.TemporaryFile()  # noqa: SIM115 - its reader closes it
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, _ in _files(build.context) if build.context else ():
            if path.is_file() or path.is_symlink():
                archive.add(path, arcname=str(path.relative_to(build.context or path.parent)), recursive=False)
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(build.dockerfile)
        archive.addfile(entry, io.BytesIO(build.dockerfile))
    out.seek(0)
    return out
