"""One error type for everything a person can mend, and how it is shown.

CarboyError            message, hint (how to mend it), code (stable, documented in docs/errors.md)
├── ConfigError        something in a file: also says file, line and key
├── Refused            by policy or by the operator (exit code 3)
├── NotSupported       a backend cannot do this: says which one, and the way round
└── NotFound           no such agent, bottle, session …
"""

import errno
import os
from dataclasses import dataclass


@dataclass(eq=False)
class CarboyError(Exception):
    """What went wrong, in one sentence a person understands; `hint` says how to mend it; `code` is stable."""

    message: str
    hint: str = ""
    code: str = "error"

    exit_code = 1

    def __str__(self) -> str:
        return self.message

    def render(self) -> str:
        """One line for a terminal: the message, then how to mend it. The same text in the TUI and on stderr."""
        text = self.located()
        if not self.hint:
            return text
        return f"{text}{'' if text.endswith(('.', '!', '?')) else '.'} {self.hint}"

    def located(self) -> str:
        return self.message

    def as_dict(self) -> dict[str, object]:
        """The error as the API sends it; `from_dict` reads it back."""
        return {"type": type(self).__name__, "message": self.message, "hint": self.hint, "code": self.code}


@dataclass(eq=False)
class ConfigError(CarboyError):
    """Something in a file is wrong. `line` counts from 1; 0 where no line is known."""

    code: str = "config"
    file: str = ""
    line: int = 0
    key: str = ""

    def located(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        parts = [part for part in (place, self.key) if part]
        return f"{': '.join(parts)}: {self.message}" if parts else self.message

    def as_dict(self) -> dict[str, object]:
        return {**super().as_dict(), "file": self.file, "line": self.line, "key": self.key}


@dataclass(eq=False)
class Refused(CarboyError):
    """Policy or the operator said no."""

    code: str = "refused"
    exit_code = 3


@dataclass(eq=False)
class NotSupported(CarboyError):
    """A backend cannot do this; the message names it, the hint the way round."""

    code: str = "not_supported"


@dataclass(eq=False)
class NotFound(CarboyError):
    """Nothing of that name exists."""

    code: str = "not_found"


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
ROOM_NEEDED = 64 * 1024
"""With less than this free, an input or output error of the database is taken for a full disk."""


def disk_full(what: str, hint: str = "Make room, or set CARBOY_HOME to another disk") -> CarboyError:
    """The disk with our state is full. Bottles run on: what they need is in memory, or already there."""
    return CarboyError(f"The disk is full: {what} cannot be written", f"{hint}. Running bottles go on", "disk_full")


CLOSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR})


def no_access(error: OSError) -> CarboyError | None:
    """A file or folder that this user may not read or write; None for any other error."""
    if not isinstance(error.filename, str | bytes) or error.errno not in CLOSED:
        return None
    return CarboyError(
        f"{os.fsdecode(error.filename)}: {os.strerror(error.errno)}",
        "Make it readable and writable for you, or set CARBOY_HOME to put carboy's own files elsewhere",
        "paths",
    )


def has_room(path: str | os.PathLike[str]) -> bool:
    """Whether the file system of `path` has some space left for us."""
    try:
        found = os.statvfs(path)
    except OSError:
        return True
    return found.f_bavail * found.f_frsize >= ROOM_NEEDED


_TYPES: dict[str, type[CarboyError]] = {
    cls.__name__: cls for cls in (CarboyError, ConfigError, Refused, NotSupported, NotFound)
}


def from_dict(data: dict[str, object]) -> CarboyError:
    """The error that an API answer carries. Unknown types become plain `CarboyError`s; nothing is raised."""
    cls = _TYPES.get(str(data.get("type")), CarboyError)
    error = cls(
        message=str(data.get("message", "unknown error")),
        hint=str(data.get("hint", "")),
        code=str(data.get("code", "error")),
    )
    if isinstance(error, ConfigError):
        line = data.get("line", 0)
        error.file, error.key = str(data.get("file", "")), str(data.get("key", ""))
        error.line = line if isinstance(line, int) else 0
    return error
