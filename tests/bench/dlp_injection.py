"""How often the injection detector is wrong: over the documentation, the prompts and the code that lie on this machine.

    python -m tests.bench dlp_injection

The text was written by others and for people: READMEs, manuals, change logs, docstrings, package metadata. It is given
to the detector as an answer would be. The attacks that it must find are those of tests/sidecar/dlp/injections.py.
"""

import json
import random
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

from sidecar.dlp.injection import InjectionWatch, find, shapes
from tests.sidecar.dlp.injections import ATTACKS, DISCUSSIONS

DOCUMENTS = {".md", ".rst", ".txt", ".html", ".1", ".5", ".7", ".8"}
CODE = {".py", ".pyi", ".js", ".ts", ".json", ".c", ".h", ".sh", ".toml", ".yaml", ".yml"}
MOST = 120_000_000


def places() -> list[Path]:
    here = [Path(path) for path in {sysconfig.get_path("purelib"), sysconfig.get_path("stdlib")}]
    shared = ("/usr/share/doc", "/usr/share/man", "/usr/lib/node_modules", "/usr/local/lib/node_modules")
    return [path for path in (*here, *map(Path, shared)) if path.exists()]


def texts(kinds: set[str]) -> Iterator[tuple[Path, bytes]]:
    for root in places():
        for path in sorted(root.rglob("*")):
            try:
                if path.is_file() and not path.is_symlink() and _kind(path) in kinds:
                    data = _plain(path, path.read_bytes())
                    if b"\0" not in data:
                        yield path, data
            except OSError:
                continue


def _kind(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _plain(path: Path, data: bytes) -> bytes:
    if path.suffix != ".gz":
        return data
    from sidecar.dlp.decode import decompressed

    return decompressed(data, "gzip", limit=1 << 26).data


def corpus(name: str, kinds: set[str]) -> None:
    files = size = 0
    blocked: list[str] = []
    warned = 0
    spent = 0.0
    for path, data in texts(kinds):
        if size > MOST:
            break
        files, size = files + 1, size + len(data)
        before = time.thread_time()
        found = find(data)
        spent += time.thread_time() - before
        hard = [finding for finding in found if finding.severity == "block"]
        warned += bool(found) and not hard
        if hard:
            blocked.append(f"    {path}: {hard[0].code}: {hard[0].snippet}")
    print(
        f"{name}: {files} files, {size / 1e6:.0f} MB: {len(blocked)} blocked (1 in {files // max(1, len(blocked))}, "
        f"{len(blocked) / size * 1e6:.3f} per MB), {warned} warned of; {size / spent / 1e6:.0f} MB/s"
    )
    print("\n".join(blocked[:40]), flush=True)


def main() -> None:
    shapes()
    missed = [attack for attack in ATTACKS if not any(each.severity == "block" for each in find(attack.encode()))]
    talked = [text for text in DISCUSSIONS if any(each.severity == "block" for each in find(text.encode()))]
    print(f"attacks of published shapes: {len(ATTACKS) - len(missed)} of {len(ATTACKS)} blocked")
    print(f"texts about such attacks: {len(talked)} of {len(DISCUSSIONS)} blocked")
    corpus("documents", DOCUMENTS)
    corpus("code", CODE)
    event = (
        b"event: content_block_delta\ndata: " + json.dumps({"delta": {"text": " the next token"}}).encode() + b"\n\n"
    )
    watch, rng = InjectionWatch(), random.Random(1)
    before = time.thread_time()
    for _ in range(3000):
        watch.feed(event[: rng.randint(60, len(event))])
    print(f"one streamed event: {(time.thread_time() - before) / 3000 * 1e6:.0f} µs")


if __name__ == "__main__":
    main()
