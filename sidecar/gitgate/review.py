"""A push as text for the operator: its commits, and the change of each reference. Bounded, and nothing of it is run: no
external diff, no text conversion, no colours."""

from sidecar.gitgate import limits
from sidecar.gitgate.git import EMPTY_TREE, GitFailed
from sidecar.gitgate.pktline import Command
from sidecar.gitgate.quarantine import Quarantine

_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short")


async def diff_text(quarantine: Quarantine, commands: tuple[Command, ...]) -> str:
    """Commits and diff of all references, cut where it is too long to be shown."""
    parts: list[str] = []
    for command in commands[:20]:
        if command.deletes:
            parts.append(f"{command.ref} is deleted; it was {command.old[:12]}\n")
            continue
        try:
            parts.append(await _of_one(quarantine, command))
        except GitFailed as error:
            parts.append(f"{command.ref}: {error.what}\n")
    text = "\n".join(parts)
    text = "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)
    if len(text) <= limits.MAX_DIFF:
        return text
    return text[: limits.MAX_DIFF] + "\n[cut off: the rest is too long to show]"


async def _of_one(quarantine: Quarantine, command: Command) -> str:
    new = f"{command.new}^{{commit}}"
    log = await _text(quarantine, "log", "--oneline", "--no-decorate", "--max-count=100", new, "--not", "--all")
    base = await _base(quarantine, command)
    stat = await _text(quarantine, "diff", "--stat=76", *_PLAIN, base, new, "--")
    diff = await _text(quarantine, "diff", *_PLAIN, base, new, "--")
    return f"{command.ref}\n{log}\n{stat}\n{diff}"


async def _base(quarantine: Quarantine, command: Command) -> str:
    """What the change is shown against: the old tip, or for a new one where it branched off."""
    if not command.creates:
        return f"{command.old}^{{commit}}"
    given = (f"{command.new}^{{commit}}", "--not", "--all")
    boundary = await _text(quarantine, "rev-list", "--boundary", "--max-count=5000", *given)
    found = next((line[1:] for line in boundary.splitlines() if line.startswith("-")), "")
    return found or EMPTY_TREE


async def _text(quarantine: Quarantine, *args: str) -> str:
    try:
        return (await quarantine.run(*args, limit=16 * 1024 * 1024)).decode(errors="replace")
    except GitFailed as error:
        if "more than" in error.what:
            return "[too long to show]\n"
        raise
