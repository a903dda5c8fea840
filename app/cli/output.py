"""How commands print: JSON with stable names for scripts, aligned text for people. All text from bottles and files
goes through `printable`: a terminal must never get an escape sequence that somebody else wrote."""

import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from app.core.text import printable

if TYPE_CHECKING:
    from app.client import Client


class _Slug(click.ParamType[str]):
    """A bottle's name. What none can have is refused before anything is asked or started: an empty one would be another
    address of the controller's, or mean all bottles."""

    name = "slug"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from app.core.slug import checked

        return checked(value)


SLUG = _Slug()


def need_terminal(instead: str) -> None:
    """For what takes the whole screen. `instead` says what needs none."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(f"This is not a terminal: {instead}")
    if os.environ.get("TERM") == "dumb":
        hint = "where it is more than that, set TERM=xterm-256color"
        raise click.UsageError(f"TERM=dumb: this terminal can show no full screen: {instead}; {hint}")


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON with stable field names.")


def print_json(value: Any) -> None:
    """One object or array on stdout."""
    import orjson

    # ASCII only: a hostile string in a JSON answer must not reach a terminal either
    text = orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2).decode()
    print(_ascii(text))


def print_json_line(value: Any) -> None:
    """One object on one line, at once."""
    import orjson

    print(_ascii(orjson.dumps(value, default=_plain).decode()), flush=True)


def _plain(value: Any) -> Any:
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"not for JSON: {type(value).__name__}")


def _ascii(text: str) -> str:
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(char if " " <= char <= "~" or char == "\n" else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def table(rows: Iterable[Sequence[str]], header: Sequence[str]) -> str:
    """Aligned columns. Cells are made printable and bounded here, so that no caller can forget it."""
    lines = [tuple(header), *(tuple(printable(cell, 120) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def line(text: str) -> None:
    """One harmless line on stdout."""
    print(printable(text, 4000))


def note(text: str) -> None:
    """One harmless line on stderr: progress, warnings, prompts."""
    print(printable(text, 4000), file=sys.stderr, flush=True)


def ago(at: float | None) -> str:
    """How long ago, in one unit."""
    if at is None:
        return ""
    seconds = max(0, time.time() - at)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine."""
    from app import tasks

    return tasks.run(main)


@contextlib.asynccontextmanager
async def connected(*, start: bool = True) -> AsyncIterator["Client"]:
    """A client, which says once where the controller is of another build of carboy than this command."""
    from app.build import other
    from app.client import Client

    async with await Client.connect(start=start) as client:
        client.on_other_build = lambda theirs: note(f"carboy: {other(theirs)}")
        yield client


def with_client[T](work: Callable[["Client"], Awaitable[T]], *, start: bool = True) -> T:
    """Connect (starting a controller where none runs), do `work`, disconnect."""

    async def main() -> T:
        async with connected(start=start) as client:
            return await work(client)

    return run(main())
