"""Writes routes that the operator decided on into the bottle file they belong to: only the entries that change, the
rest, comments included, stays as it is. The result is checked as any bottle file before it replaces the old one."""

import difflib
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from app.core.frontmatter import MARK, MAX_FILE
from app.core.lineage import Lineage, check_hosts, trace
from app.core.manifest import BottleFile, parse_bottle
from app.core.routes import changed_hosts, widen
from app.core.routetext import plain
from app.errors import CarboyError
from app.files import atomic_write, read_bounded
from app.manifests.folders import list_home, read_bottle
from app.manifests.suffixes import shared_domain
from app.paths import Paths
from sidecar.contract import Route


@dataclass(frozen=True)
class Saving:
    """One bottle file before and after. `used_by` are other bottles that build on it."""

    file: Path
    old: bytes
    new: bytes
    used_by: tuple[str, ...] = ()

    @property
    def diff(self) -> tuple[str, ...]:
        old, new = self.old.decode().splitlines(), self.new.decode().splitlines()
        return tuple(
            line for line in difflib.unified_diff(old, new, lineterm="", n=2) if line[:3] not in ("---", "+++")
        )

    def write(self) -> None:
        """Replace the file, unless somebody else changed it since."""
        if read_bounded(self.file, MAX_FILE) != self.old:
            raise CarboyError(f"{self.file} was changed meanwhile", "Look at it, then try again", "stale_view")
        atomic_write(self.file, self.new, self.file.stat().st_mode & 0o777)

    def undo(self) -> None:
        """The old one again, where nothing came after `write`."""
        if read_bounded(self.file, MAX_FILE) == self.new:
            atomic_write(self.file, self.old, self.file.stat().st_mode & 0o777)


def prepare(paths: Paths, bottles: tuple[str, ...], hosts: Iterable[str], routes: tuple[Route, ...]) -> Saving | None:
    """The change that makes the files of `bottles` say what `routes` say about `hosts`; None where they do already.

    Raises CarboyError where that needs more than one file, and ConfigError where the result would be no bottle."""
    lineage = trace(bottles, lambda name: read_bottle(paths, name), list_home(paths.bottles).names)
    wanted = {host: next((route for route in routes if route.host == host), None) for host in hosts}
    places = {host: _place(lineage, host) or bottles[-1] for host in wanted}
    changed = {host: route for host, route in wanted.items() if route != _held(lineage.file(places[host]), host)}
    if not changed:
        return None
    names = {places[host] for host in changed}
    if len(names) > 1:
        listed = ", ".join(sorted(f"{name}.md" for name in names))
        raise CarboyError(f"This would change several bottle files: {listed}", "Edit them yourself", "save_several")
    return _saving(paths, bottles, names.pop(), changed)


def prepare_added(paths: Paths, bottles: tuple[str, ...], asked: tuple[Route, ...]) -> Saving | None:
    """The change that adds `asked` to the files of `bottles` as they are now, and nothing else: what a running bottle
    was given besides, for the session or for a while, stays out of them."""
    lineage = trace(bottles, lambda name: read_bottle(paths, name), list_home(paths.bottles).names)
    held = tuple(route for file in lineage.files for route in file.bottle.egress.routes)
    wider = widen(held, asked)
    return prepare(paths, bottles, changed_hosts(held, wider), wider)


def _place(lineage: Lineage, host: str) -> str | None:
    return next((file.name for file in lineage.files if _held(file, host) is not None), None)


def _held(file: BottleFile, host: str) -> Route | None:
    return next((route for route in file.bottle.egress.routes if route.host == host), None)


def _saving(paths: Paths, bottles: tuple[str, ...], name: str, changed: dict[str, Route | None]) -> Saving:
    path = paths.bottles / f"{name}.md"
    old = read_bounded(path, MAX_FILE)
    new = edited(old, changed, str(path))
    parsed = parse_bottle(new, name, str(path), shared_domain)
    read = _reading(paths, name, parsed)
    check_hosts(trace(bottles, read, list_home(paths.bottles).names))
    for host, route in changed.items():
        if _held(parsed, host) != route:
            raise CarboyError(
                f"{path} could not be edited by a program", f"Run: carboy edit bottle/{name}", "save_form"
            )
    return Saving(path, old, new, _users(paths, name, bottles))


def _reading(paths: Paths, name: str, parsed: BottleFile) -> Any:
    return lambda other: parsed if other == name else read_bottle(paths, other)


def _users(paths: Paths, name: str, bottles: tuple[str, ...]) -> tuple[str, ...]:
    """Bottles other than the running one's that have `name` among what they build on."""
    known = list_home(paths.bottles).names
    found: list[str] = []
    for other in known:
        if other in bottles or other == name:
            continue
        try:
            lineage = trace((other,), lambda each: read_bottle(paths, each), known)
        except CarboyError:
            continue  # a broken file uses nothing
        if any(file.name == name for file in lineage.files):
            found.append(other)
    return tuple(found)


def edited(data: bytes, changed: dict[str, Route | None], file: str) -> bytes:
    """A bottle file's bytes with these routes put in, replaced or (None) taken out."""
    text = data.decode("utf-8-sig")
    ending = "\r\n" if "\r\n" in text else "\n"
    lines = text.replace("\r\n", "\n").split("\n")
    end = next(index for index in range(1, len(lines)) if lines[index].rstrip() == MARK)
    header = "\n".join(lines[1:end]) + "\n"
    try:
        tree = _yaml(_STYLES[0]).load(header) or CommentedMap()
        style = _style_of(header, tree)
        _put(tree, changed)
        written = _dump(tree, style)
    except (YAMLError, ValueError, TypeError, AttributeError) as error:
        raise CarboyError(f"{file} cannot be edited by a program: {error}", "Edit it yourself", "save_form") from None
    result = "\n".join([lines[0], *written.rstrip("\n").split("\n"), *lines[end:]])
    return result.replace("\n", ending).encode()


def _put(tree: Any, changed: dict[str, Route | None]) -> None:
    egress = tree.setdefault("egress", CommentedMap())
    routes = egress.get("routes")
    if not isinstance(routes, CommentedSeq):
        routes = egress["routes"] = CommentedSeq()
    for host, route in changed.items():
        at = next((index for index, item in enumerate(routes) if _names(item, host)), None)
        if route is None:
            if at is not None:
                del routes[at]
        elif at is None:
            routes.append(_tree(plain(route)))
        else:
            _update(routes[at], plain(route))


def _names(item: Any, host: str) -> bool:
    try:
        return Route(host=str(item["host"])).host == host
    except (KeyError, TypeError, ValueError):
        return False


def _update(entry: Any, values: dict[str, Any]) -> None:
    """Change a mapping in place, so that comments beside what stays are kept."""
    for key in [key for key in entry if key not in values]:
        del entry[key]
    for key, value in values.items():
        if key not in entry or Route.model_validate({"host": "x.y", **_only(entry, key)}) != Route.model_validate(
            {"host": "x.y", **_only(values, key)}
        ):
            entry[key] = _tree(value)


def _only(values: Any, key: str) -> dict[str, Any]:
    return {} if key == "host" else {key: values[key]}


def _tree(value: Any) -> Any:
    """Plain values as ruamel's own, block style, with short lists of words on one line."""
    if isinstance(value, dict):
        return CommentedMap({key: _tree(inner) for key, inner in cast("dict[str, Any]", value).items()})
    if isinstance(value, list | tuple):
        listed = CommentedSeq([_tree(inner) for inner in cast("list[Any]", value)])
        if all(isinstance(inner, str | int) for inner in listed):
            listed.fa.set_flow_style()
        return listed
    return value


type _Style = tuple[int, int, int, bool]
_STYLES: tuple[_Style, ...] = tuple(
    (mapping, offset + 2, offset, braces)
    for braces in (True, False)
    for mapping in (2, 4, 3, 8)
    for offset in (2, 0, 4, 1, 3)
)
"""Indentations (mapping, list, dash) that people use, the usual ones first; and whether `[{value: /x}]` has braces."""


def _style_of(header: str, tree: Any) -> _Style:
    """The indentation in which the file, written back unchanged, differs least from what it is."""

    before = Counter(header.splitlines())

    def differs(style: _Style) -> int:
        """Lines, in whatever place: written back they stand in the same order."""
        after = Counter(_dump(tree, style).splitlines())
        return (before - after).total() + (after - before).total()

    best, least = _STYLES[0], differs(_STYLES[0])
    for style in _STYLES[1:]:
        if not least:
            break
        found = differs(style)
        if found < least:
            best, least = style, found
    return best


def _yaml(style: _Style) -> YAML:
    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.width = 4096
    mapping, sequence, offset, braces = style
    yaml.brace_single_entry_mapping_in_flow_sequence = braces
    yaml.indent(mapping=mapping, sequence=sequence, offset=offset)
    return yaml


def _dump(tree: Any, style: _Style) -> str:
    stream = io.StringIO()
    _yaml(style).dump(tree, stream)
    return stream.getvalue()
