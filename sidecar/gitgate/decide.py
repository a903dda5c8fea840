"""What a push may change, and what becomes of its findings: pure decisions over commands and problems."""

from dataclasses import dataclass

from sidecar.gitgate import limits
from sidecar.gitgate.pktline import Command
from sidecar.gitgate.scan import Problem

PLACES = ("refs/heads/", "refs/tags/")


def refused_ref(command: Command, present: dict[str, str]) -> str:
    """Why one reference cannot be changed so, from its name and its old value alone; nothing where it can."""
    if not command.ref.startswith(PLACES):
        return "only branches and tags are pushed through the git gate"
    now = present.get(command.ref, "0" * 40)
    if command.deletes and command.creates:
        return "nothing to delete"
    if now != command.old:
        return "fetch first" if not command.creates else "already exists"
    return ""


def forced(ref: str, *, fast_forward: bool) -> bool:
    """Whether a change takes something away that upstream has: a branch that does not go on, a tag that moves."""
    return ref.startswith("refs/tags/") or not fast_forward


@dataclass(frozen=True)
class Sorted:
    """Problems by what they mean."""

    refusing: tuple[Problem, ...]
    suppressed: tuple[Problem, ...]
    examples: tuple[Problem, ...]


def sort(problems: list[Problem]) -> Sorted:
    """The second pass is the first without the marks: what only a mark hid waits for the operator."""
    refusing = [each for each in problems if not each.example and not each.suppressed]
    hidden = [each for each in problems if not each.example and each.suppressed]
    return Sorted(tuple(refusing), tuple(hidden), tuple(each for each in problems if each.example))


def listing(problems: tuple[Problem, ...], most: int = limits.MAX_SHOWN) -> list[str]:
    """One line each, at most `most`; what is left out is said."""
    lines = [str(problem)[:400] for problem in problems[:most]]
    more = len(problems) - most
    if more > 0:
        lines.append(f"and at least {more} more" if len(problems) >= limits.MAX_KEPT else f"and {more} more")
    return lines


def numbers(hidden: tuple[Problem, ...]) -> str:
    """How many findings inline marks suppress, and of how many values."""
    places = sum(problem.places for problem in hidden)
    if places == 1:
        return "a suppressed finding"
    least = "at least " if any(problem.places >= limits.MAX_KEPT for problem in hidden) else ""
    values = f" of {len(hidden)} value{'s' * (len(hidden) > 1)}" if len(hidden) < places else ""
    return f"{least}{places} suppressed findings{values}"


def reasons(porcelain: str, refs: list[str]) -> dict[str, str]:
    """From `git push --porcelain`: why upstream refused each reference; an empty text where it took it."""
    found: dict[str, str] = {}
    for line in porcelain.splitlines():
        flag, _, rest = line.partition("\t")
        names, _, summary = rest.partition("\t")
        ref = names.rpartition(":")[2]
        if len(flag) != 1 or ref not in refs:
            continue
        if flag == "!":
            inside = summary.partition("(")[2].rpartition(")")[0]
            found[ref] = (inside or summary.strip("[] ") or "refused")[:200]
        else:
            found[ref] = ""
    return found
