"""What can be read off a regular expression before it is compiled: its greatest width, a form of it that is cheap to
search for, and words that every match must hold. Pure; used once, when rules are compiled."""

import re
from functools import lru_cache
from typing import Any, cast

_parser: Any = cast(Any, re)._parser  # the only parser of this syntax at hand; stable since 3.11
_MAX_WORDS = 64
_MAX_EXPANDED = 8
_TAIL = re.compile(r"\{([1-9]\d*),\d*\}$")


@lru_cache(4)
def parsed(source: str) -> Any:
    """What an expression consists of, as `re` reads it; to be looked at only. Kept for those who ask one another's
    questions of the same expression."""
    return _parser.parse(source)


def max_width(source: str) -> int:
    """Longest possible match in characters; ValueError where there is no bound: such an expression is refused."""
    width = int(parsed(source).getwidth()[1])
    if width > 100_000:
        raise ValueError("an expression with an unbounded repetition")
    return width


_OPENING = re.compile(r"(\w+\[[^\]]+\]\{(?:[5-9]\d|\d{3})),\d+\}.+")
"""A word and so many characters of one kind that what else must follow hardly tells more."""
_OPTIONAL = re.compile(r"(?:\[(?:\\.|[^\\\]])+\]|[^\\\])}?*+|])\{0,[0-9]+\}$")
"""At the end: a class, or a character, that may be missing."""


def trimmed(source: str) -> str:
    """`source` without what may be missing at its end, and its last quantifier cut to its minimum: it matches wherever
    `source` does, and reports once instead of once a character. An inner one may not be cut, or it would lose matches,
    but where all behind a long one is left out as well: such an expression costs a fifth of all."""
    if opening := _OPENING.fullmatch(source):
        return opening[1] + "}"
    while (end := _last_optional(source)) is not None:
        source = source[:end]
    if source.endswith("}") and not source.endswith("\\}"):
        return _TAIL.sub(r"{\1}", source)
    return source


_SPELLED, _LEAST = 8, 3
_BEGIN = re.compile(r"(?:(?:[\w/:-]|\[[\w/:-]+\]|\(\?:[\w/:|-]+\))(?![{?*+]))+", re.ASCII)
"""Characters, classes of some and choices between words, none of them repeated."""


def spelled(source: str) -> str:
    """The same expression, where it begins with one of a few words, each of them with all that follows: hyperscan
    looks for those words, and else at every byte, if what they share is long."""
    begin = _BEGIN.match(source)
    words = _exact_sequence(parsed(begin[0])) if begin else None
    if begin is None or words is None or not 1 < len(words) <= _SPELLED or min(map(len, words)) < _LEAST:
        return source
    return "|".join(f"{word}{source[begin.end() :]}" for word in sorted(words))


def _last_optional(source: str) -> int | None:
    """Where what may be missing at the end of `source` begins."""
    if optional := _OPTIONAL.search(source):
        start = optional.start()
        return None if source[start - 1 : start] == "\\" else start
    start = source.rfind("(?:") if source.endswith(")?") else -1
    while start >= 0:
        try:
            nodes = _parser.parse(source[start:])
        except re.error:  # begins inside of the group
            nodes = ()
        if len(nodes) == 1:
            return start if source[start - 1 : start] != "\\" else None
        start = source.rfind("(?:", 0, start)
    return None


def required_words(source: str, *, least: int = 3) -> tuple[bytes, ...]:
    """Words of at least `least` characters of which each match of `source` holds one; () if none is sure."""
    best = _best(parsed(source), least)
    return tuple(sorted(word.encode("ascii") for word in best))


def leading_literal(source: str) -> bytes:
    """The text with which every match begins; none where case does not count."""
    begin = ""
    if not source.startswith("(?i)"):
        for op, argument in parsed(source):
            if str(op) != "LITERAL":
                break
            begin += chr(argument)
    return begin.encode()


_RUN_SAFE = frozenset("+/_-")


def leading_run(source: str) -> tuple[int, bool]:
    """How many characters every match begins with at least that are letters, digits or `+/_-`; whether all are."""
    return _leading(parsed(source))


def _leading(nodes: Any) -> tuple[int, bool]:
    """(characters, all of the sequence is such)."""
    total = 0
    for op, argument in nodes:
        least, whole = _run_of(str(op), argument)
        total += least
        if not whole:
            return total, False
    return total, True


def _run_of(op: str, argument: Any) -> tuple[int, bool]:
    if op == "LITERAL":
        return (1, True) if _in_run(argument) else (0, False)
    if op == "IN":
        inside = all(_all_in_run(str(kind), value) for kind, value in argument)
        return (1, True) if inside else (0, False)
    if op == "SUBPATTERN":
        return _leading(argument[-1])
    if op == "BRANCH":
        parts = [_leading(branch) for branch in argument[1]]
        return min(least for least, _ in parts), all(whole for _, whole in parts)
    if op == "MAX_REPEAT":
        least, whole = _leading(argument[2])
        return (least * argument[0], True) if whole else (least if argument[0] else 0, False)
    return 0, False


def _all_in_run(kind: str, value: Any) -> bool:
    if kind == "RANGE":
        return all(_in_run(code) for code in range(value[0], value[1] + 1))
    if kind == "LITERAL":
        return _in_run(value)
    return kind == "CATEGORY" and str(value) == "CATEGORY_DIGIT"


def _in_run(code: int) -> bool:
    return code < 128 and (chr(code).isalnum() or chr(code) in _RUN_SAFE)


def _best(nodes: Any, least: int) -> set[str]:
    """The most selective set of words among those that can be read off a sequence."""
    found: list[set[str]] = []
    run: set[str] = {""}

    def close() -> None:
        nonlocal run
        if min(map(len, run)) >= least:
            found.append(run)
        run = {""}

    for op, argument in nodes:
        step = _exact(str(op), argument)
        if step is None or len(step) * len(run) > _MAX_WORDS:
            close()
            inner = _inside(str(op), argument, least)
            if inner:
                found.append(inner)
            if step is not None:
                run = step
            continue
        run = {left + right for left in run for right in step}
    close()
    return max(found, key=lambda words: min(map(len, words)), default=set[str]())


def _exact(op: str, argument: Any) -> set[str] | None:
    """All texts that one node matches, where they are few."""
    if op == "LITERAL":
        return {chr(argument)} if argument < 128 else None
    if op == "IN":
        characters: set[str] = set()
        for kind, value in argument:
            if str(kind) != "LITERAL" or value >= 128:
                return None
            characters.add(chr(value))
        return characters if len(characters) <= _MAX_EXPANDED else None
    if op == "SUBPATTERN":
        return _exact_sequence(argument[-1])
    if op == "BRANCH":
        whole: set[str] = set()
        for branch in argument[1]:
            texts = _exact_sequence(branch)
            if texts is None:
                return None
            whole |= texts
        return whole
    return None


def _exact_sequence(nodes: Any) -> set[str] | None:
    texts: set[str] = {""}
    for op, argument in nodes:
        step = _exact(str(op), argument)
        if step is None or len(step) * len(texts) > _MAX_WORDS:
            return None
        texts = {left + right for left in texts for right in step}
    return texts


def _inside(op: str, argument: Any, least: int) -> set[str]:
    """Words from within a group, an alternation whose branches all have some, or a repetition of at least one."""
    if op == "SUBPATTERN":
        return _best(argument[-1], least)
    if op == "BRANCH":
        parts = [_best(branch, least) for branch in argument[1]]
        return set[str]().union(*parts) if all(parts) else set[str]()
    if op == "MAX_REPEAT" and argument[0] >= 1:
        return _best(argument[2], least)
    return set()
