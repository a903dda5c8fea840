"""Where a secret can be hidden in a push, each as a way to make the commits of a clone. And what is no secret."""

import base64
import gzip
import random
import zlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from sidecar.dlp.patterns.model import CredentialType, all_types
from sidecar.gitgate import limits
from tests.gitgate.kit import World, git

type Plant = Callable[[World, Path, str], Awaitable[Sequence[str]]]
"""Makes commits that hold the text, and gives what to push."""

HEAD = ("HEAD:main",)


async def in_a_file(one: World, clone: Path, text: str) -> Sequence[str]:
    await one.commit(clone, {"config/settings.ini": f"a = 1\n{text}\nb = 2\n"})
    return HEAD


async def in_an_old_commit(one: World, clone: Path, text: str) -> Sequence[str]:
    await one.commit(clone, {"old.txt": f"{text}\n"})
    await one.commit(clone, {"old.txt": "gone\n"})
    await one.commit(clone, {"later.txt": "later\n"})
    return HEAD


async def in_a_merge(one: World, clone: Path, text: str) -> Sequence[str]:
    await one.git("checkout", "-q", "-b", "side", cwd=clone)
    await one.commit(clone, {"side.txt": "side\n"})
    await one.git("checkout", "-q", "-", cwd=clone)
    await one.commit(clone, {"main.txt": "main\n"})
    await one.git("merge", "-q", "--no-commit", "--no-ff", "side", cwd=clone)
    (clone / "merged.txt").write_text(f"{text}\n")
    await one.git("add", "-A", cwd=clone)
    await one.git("commit", "-q", "-m", "merges", cwd=clone)
    return HEAD


async def in_a_renamed_file(one: World, clone: Path, text: str) -> Sequence[str]:
    body = "".join(f"line {number}\n" for number in range(200))
    await one.commit(clone, {"before.txt": body})
    await one.git("mv", "before.txt", "after.txt", cwd=clone)
    await one.commit(clone, {"after.txt": body + text + "\n"})
    return HEAD


async def in_a_binary_file(one: World, clone: Path, text: str) -> Sequence[str]:
    noise = random.Random(7).randbytes(4000)
    await one.commit(clone, {"image.bin": b"\x89PNG\r\n" + noise + b"\0" + text.encode() + b"\n\0" + noise})
    return HEAD


async def in_utf16(one: World, clone: Path, text: str) -> Sequence[str]:
    await one.commit(clone, {"export.txt": ("x\n" + text + "\n").encode("utf-16")})
    return HEAD


async def in_base64(one: World, clone: Path, text: str) -> Sequence[str]:
    hidden = base64.b64encode(f"\n{text}\n".encode()).decode()
    await one.commit(clone, {"data.json": '{"data": "' + hidden + '"}\n'})
    return HEAD


async def in_a_compressed_file(one: World, clone: Path, text: str) -> Sequence[str]:
    """Among others as small: they are examined together."""
    await one.commit(clone, {"a.txt": "a\n", "b.z": zlib.compress(f"here is {text}\n".encode()), "c.txt": "c\n"})
    return HEAD


async def in_a_message(one: World, clone: Path, text: str) -> Sequence[str]:
    await one.commit(clone, {"a.txt": "a\n"}, f"fixes it\n\nuse {text}\n")
    return HEAD


async def in_a_tag(one: World, clone: Path, text: str) -> Sequence[str]:
    await one.commit(clone, {"a.txt": "a\n"})
    await one.git("tag", "-a", "v1", "-m", f"release\n\n{text}\n", cwd=clone)
    return ("v1",)


async def in_a_submodules_url(one: World, clone: Path, text: str) -> Sequence[str]:
    value = text.split("=")[-1].strip().strip("'\"").split("\n")[0]
    body = f'[submodule "lib"]\n\tpath = lib\n\turl = https://x:{value}@git.example.com/lib.git\n# {text}\n'
    await one.commit(clone, {".gitmodules": body})
    return HEAD


async def in_an_lfs_pointer(one: World, clone: Path, text: str) -> Sequence[str]:
    pointer = f"version https://git-lfs.github.com/spec/v1\next-0-x {text}\noid sha256:{'4d7a2146' * 8}\nsize 12345\n"
    await one.commit(clone, {"big.psd": pointer})
    return HEAD


async def on_a_suppressed_line(one: World, clone: Path, text: str) -> Sequence[str]:
    marks = ("gitleaks:allow", "pragma: allowlist secret", "trufflehog:ignore", "ggignore")
    mark = marks[len(text) % len(marks)]
    await one.commit(clone, {"suppressed.py": "\n".join(f"{line}  # {mark}" for line in text.splitlines()) + "\n"})
    return HEAD


async def on_a_new_branch(one: World, clone: Path, text: str) -> Sequence[str]:
    await one.git("checkout", "-q", "-b", "topic", cwd=clone)
    await one.commit(clone, {"deep/er/still/file.yml": f"key:\n{text}\n"})
    return ("HEAD:main", "topic")


async def in_a_large_file(one: World, clone: Path, text: str) -> Sequence[str]:
    line = b"nothing to see here, only words and words\n"
    await one.commit(clone, {"large.log": line * 210_000 + text.encode() + b"\n" + line * 1000})
    return HEAD


async def in_a_large_archive(one: World, clone: Path, text: str) -> Sequence[str]:
    """At the end of what is looked at in several pieces, each of which means nothing by itself."""
    noise = random.Random(9).randbytes(limits.WINDOW + 200_000)
    await one.commit(
        clone, {"all.gz": gzip.compress(noise + b"words " * 9000 + b"\n" + text.encode() + b"\n", mtime=0)}
    )
    return HEAD


async def split_over_two_commits(one: World, clone: Path, text: str) -> Sequence[str]:
    half = len(text) // 2
    await one.commit(clone, {"half.txt": text[:half]})
    await one.commit(clone, {"half.txt": text})
    await one.commit(clone, {"half.txt": text[half:]})
    return HEAD


EVERYWHERE: tuple[Plant, ...] = (
    in_a_file, in_an_old_commit, in_a_merge, in_a_renamed_file, in_a_binary_file, in_utf16, in_base64,
    in_a_compressed_file, in_a_message, in_a_tag, in_a_submodules_url, in_an_lfs_pointer, on_a_suppressed_line,
    on_a_new_branch, in_a_large_file, in_a_large_archive, split_over_two_commits,
)  # fmt: skip
QUICK: tuple[Plant, ...] = (
    in_an_old_commit,
    in_a_merge,
    in_a_binary_file,
    in_a_compressed_file,
    in_a_tag,
    in_a_submodules_url,
    in_a_large_archive,
)


def credentials(count: int) -> list[CredentialType]:
    """Types spread over all vendors, whose own text is one line and no documented example."""
    usable = [each for each in all_types() if "\n" not in each.positives[0] and not each.documented]
    step = max(1, len(usable) // count)
    return usable[::step][:count]


BENIGN: dict[str, dict[str, str | bytes]] = {
    "source": {"app.py": "import os\n\nTOKEN = os.environ['TOKEN']\npassword = getpass()\n", "go.sum": ""},
    "locks": {
        "package-lock.json": '{"integrity": "sha512-' + base64.b64encode(bytes(range(64))).decode() + '"}\n',
        "poetry.lock": 'hash = "sha256:' + "0a1b2c3d4e5f6789" * 4 + '"\n',
    },
    "placeholders": {".env.example": "API_KEY=<your-key>\nSECRET=changeme\nTOKEN=xxxxxxxxxxxxxxxxxxxx\n"},
    "cards": {"test_pay.py": 'CARD = "4242 4242 4242 4242"\nIBAN = "DE89 3704 0044 0532 0130 00"\n'},
    "public keys": {"id.pub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me\n"},
    "certificate": {"ca.pem": "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ==\n-----END CERTIFICATE-----\n"},
    "binary": {"blob.bin": random.Random(3).randbytes(200_000), "text.gz": gzip.compress(b"hello " * 1000, mtime=0)},
    "pointer": {"big.psd": f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a2146' * 8}\nsize 12345\n"},
    "unicode": {"grüße/你好.md": "ünïcödé\n", "empty": "", "with space/and 'quote'.txt": "x\n"},
    "many": {f"src/m{number}/file{number}.py": f"def f{number}():\n    return {number}\n" for number in range(300)},
}


def fresh_clone(upstream: Path, target: Path) -> Path:
    """A clone past the gate, quick; pushes go through it."""
    git("clone", "-q", str(upstream), str(target))
    return target
