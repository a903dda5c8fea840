"""A push as text for the operator: its references, commits, and the change of each reference. Bounded, and what is left
out is said; nothing of it is run: no external diff, no text conversion, no colours."""

from collections.abc import Callable

from sidecar.gitgate import limits
from sidecar.gitgate.git import EMPTY_TREE, GitFailed
from sidecar.gitgate.pktline import Command
from sidecar.gitgate.quarantine import Quarantine

_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short")
_COMMIT = "--format=%h %an <%ae>%n%w(0,4,4)%B"
"""Who, and all that is said: text leaves with a commit as well as with a file."""
_NAMED, _SHOWN, _IN_TITLE = 50, 20, 5
"""References that are named, those whose change is shown, and those that a title has."""


def in_order(commands: tuple[Command, ...]) -> list[Command]:
    """What changes something that is there comes first: a crowd of new references must not keep it out of sight."""
    return sorted(commands, key=lambda command: command.creates)


def title(commands: tuple[Command, ...]) -> str:
    """The references in a few words."""
    short = ", ".join(command.ref.split("/", 2)[2] for command in in_order(commands)[:_IN_TITLE])
    return short if len(commands) == 1 else f"{len(commands)} references: {short}"


def references(commands: tuple[Command, ...]) -> list[str]:
    """A line for each."""
    lines: list[str] = []
    for command in in_order(commands)[:_NAMED]:
        what = "new" if command.creates else "deleted" if command.deletes else command.old[:12]
        lines.append(f"{command.ref}: {what}" + ("" if command.deletes else f" -> {command.new[:12]}"))
    more = len(commands) - _NAMED
    return [*lines, f"[{more} more references are too many to name]"] if more > 0 else lines


async def whole_text(quarantine: Quarantine, commands: tuple[Command, ...], hide: Callable[[str], str]) -> str:
    """References with commits and diff of each, cut where it is too long to be shown."""
    parts = ["\n".join([*references(commands), ""])]
    more = len(commands) - _SHOWN
    if more > 0:
        parts.append(f"[what {more} of them bring is too much to show]\n")
    for command in in_order(commands)[:_SHOWN]:
        if command.deletes:
            parts.append(f"{command.ref} is deleted; it was {command.old[:12]}\n")
            continue
        try:
            parts.append(await _of_one(quarantine, command))
        except GitFailed as error:
            parts.append(f"{command.ref}: {error.what}\n")
    text = hide("\n".join(parts))
    text = "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)
    return cut(text, limits.MAX_DIFF)


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "\n[cut off: the rest is too long to show]\n"


async def _of_one(quarantine: Quarantine, command: Command) -> str:
    peeled = f"{command.new}^{{}}"
    # the message of a tag, or what stands where a commit is meant to
    own = await _text(quarantine, "show", "-s", "--no-textconv", "--no-color", "--format=", command.new)
    own = cut("".join(f"    {line}\n" for line in own.splitlines()), limits.MAX_COMMITS)
    kind = (await _text(quarantine, "cat-file", "-t", peeled)).strip()
    if kind == "blob":
        return f"{command.ref} is a file, and no commit\n{own}"
    if kind == "tree":
        return f"{command.ref} is a folder, and no commit\n{own}{await _change(quarantine, EMPTY_TREE, peeled)}"
    log = await _commits(quarantine, peeled)
    change = await _change(quarantine, await _base(quarantine, command), peeled)
    return f"{command.ref}\n{own}{log}\n{change}"


async def _commits(quarantine: Quarantine, new: str) -> str:
    """Each with what it changes, in numbers: what a later one takes away again is not in the diff."""
    given = (new, "--not", "--all")
    count = int(await _text(quarantine, "rev-list", "--count", *given))
    stat = ("--stat=76", "--cc", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color")
    log = await _text(quarantine, "log", *stat, "--no-decorate", f"--max-count={limits.SHOWN_COMMITS}", _COMMIT, *given)
    more = count - limits.SHOWN_COMMITS
    log = cut(log, limits.MAX_COMMITS)
    return log if more <= 0 else f"{log}[{more} more commits are too many to show]\n"


async def _change(quarantine: Quarantine, base: str, new: str) -> str:
    stat = await _text(quarantine, "diff", "--stat=76", *_PLAIN, base, new, "--")
    return f"{stat}\n{await _text(quarantine, 'diff', *_PLAIN, base, new, '--')}"


async def _base(quarantine: Quarantine, command: Command) -> str:
    """What the change is shown against: the old tip, or for a new one where it branched off."""
    if not command.creates:
        return f"{command.old}^{{}}"
    given = (f"{command.new}^{{commit}}", "--not", "--all")
    # all of it: where a listing ends early, its boundary is a commit of the push
    boundary = await _text(quarantine, "rev-list", "--boundary", *given)
    found = next((line[1:] for line in boundary.splitlines() if line.startswith("-")), "")
    return found or EMPTY_TREE


async def _text(quarantine: Quarantine, *args: str) -> str:
    try:
        return (await quarantine.run(*args, limit=16 * 1024 * 1024)).decode(errors="replace")
    except GitFailed as error:
        if "more than" in error.what:
            return "[too long to show]\n"
        raise
