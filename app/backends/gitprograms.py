"""What the operator's git runs or reads out of the project, by its own config: a folder of hooks (`core.hooksPath`),
config that is included, programs of filters. An agent that could write these would have them run at the next command.

The config is asked for by git itself, which executes nothing for it, and follows what is included.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from app.core.schema import Mask
from app.core.text import printable
from app.errors import CarboyError

SECONDS = 10
_HOOKS = "core.hookspath"
_INCLUDE = re.compile(r"include\.path|includeif\..*\.path", re.DOTALL)
_PROGRAM = re.compile(
    r"core\.(fsmonitor|sshcommand|editor|pager|askpass|gitproxy|alternaterefscommand)|sequence\.editor"
    r"|diff\.external|diff\..*\.(command|textconv)|filter\..*\.(clean|smudge|process)|merge\..*\.driver"
    r"|(merge|diff)tool\..*\.(cmd|path)|gpg\.(.*\.)?program|gpg\.ssh\.defaultkeycommand|credential\.(.*\.)?helper"
    r"|pager\..*|alias\..*|interactive\.difffilter|trailer\..*\.(cmd|command)|uploadpack\.packobjectshook"
    r"|remote\..*\.(uploadpack|receivepack|vcs)|submodule\..*\.update",
    re.DOTALL,
)
"""Keys whose value is a command (git-config(1)); git gives them in small letters."""
_NAMED = re.compile(r"alias\..*|credential\.(.*\.)?helper|submodule\..*\.update|remote\..*\.vcs", re.DOTALL)
"""Of these, the ones whose value begins with a word of git's own, unless it is a path in full or for a shell (`!`)."""
_BARE = re.compile(r"""[^\s'"!;&|(){}<>$`=]+""")
"""A word of a command, also of one in quotation marks for another shell."""


def named(project: Path, *, launch: bool = True) -> tuple[Mask, ...]:
    """Masks for what git's config names inside `project`. Blocks; raises CarboyError where it cannot be told, or not be
    masked at a `launch`."""
    top, program = top_of(project), shutil.which("git")
    if top is None or program is None:
        return ()
    found = dict[str, None]()
    for origin, key, value in _config(program, top):
        for path in _paths(top, origin, key, value):
            # where a link leads to is what is run
            for place in (os.path.normpath(path), os.path.realpath(path)):
                if (below := _below(project, place)) is not None:
                    if launch:
                        _check(below, place, key)
                    found[below] = None
    return tuple(Mask(path=path, mode="read-only") for path in found if path != ".")


def top_of(project: Path) -> Path | None:
    """The working tree that the project is, or is in."""
    return next((folder for folder in (project, *project.parents) if os.path.lexists(folder / ".git")), None)


def _config(program: str, top: Path) -> Iterator[tuple[str, str, str]]:
    """Each setting that counts there, the user's own ones too: the file that has it, key, value."""
    env = {**os.environ, "GIT_DIR": str(top / ".git")}  # named, it need not be the user's own to be read
    try:
        done = subprocess.run(
            [program, "config", "--null", "--show-origin", "--list", "--includes"],
            cwd=top, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _untold(top, str(error)) from None
    if done.returncode:
        raise _untold(top, done.stderr.decode(errors="replace"))
    words = os.fsdecode(done.stdout).split("\0")
    for origin, setting in zip(words[::2], words[1::2], strict=False):
        key, _, value = setting.partition("\n")
        yield origin.removeprefix("file:"), key, value


def _untold(top: Path, reason: str) -> CarboyError:
    return CarboyError(
        f"What git runs in {top} cannot be told from its config: {printable(reason.strip(), 300)}",
        f"`git config --list` in {top} says more; mend the file that it names", "mask",
    )  # fmt: skip


def _paths(top: Path, origin: str, key: str, value: str) -> Iterator[str]:
    """Absolute, not normalized."""
    if not value:
        return
    if key == _HOOKS:
        yield os.path.join(top, os.path.expanduser(value))
    elif _INCLUDE.fullmatch(key):
        yield os.path.join(top, os.path.dirname(origin), os.path.expanduser(value))
    elif _PROGRAM.fullmatch(key):
        if _NAMED.fullmatch(key) and not value.startswith(("!", "/", "'", '"')):
            value = " ".join(value.split(None, 1)[1:])
        for word in _words(value):
            path = os.path.join(top, os.path.expanduser(word))
            if os.path.isfile(path):
                yield path


def _words(command: str) -> list[str]:
    words: list[str] = _BARE.findall(command)
    with contextlib.suppress(ValueError):
        words += shlex.split(command)  # where a name has a blank
    return words


def _below(project: Path, path: str) -> str | None:
    """Relative to the project, "." for itself; None where it is elsewhere."""
    relative = os.path.relpath(path, os.path.realpath(project))
    return None if relative == ".." or relative.startswith("../") else relative


def _check(relative: str, path: str, key: str) -> None:
    if relative == ".":
        raise CarboyError(
            f"git's config names the project itself ({key}): whatever the agent writes there would be run",
            "Give it a folder of its own (`git config core.hooksPath .githooks`)", "mask",
        )  # fmt: skip
    if _INCLUDE.fullmatch(key) and not os.path.lexists(path):
        raise CarboyError(
            f"git's config includes {printable(path, 300)}, which is missing: the agent could write it",
            f"Make it, if empty (`touch`), or take {key} out of the config", "mask",
        )  # fmt: skip
