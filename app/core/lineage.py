"""The `extends` graph: which bottle files take part in a launch, in which order. Pure; a callback reads the files.

Every file takes part once, after all that it extends: a shared ancestor neither doubles its routes nor undoes what a
descendant has set. Cycles, self references, unknown names and broken parents each have their own message, with the
whole chain that led there.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replaced

from app.core.manifest import BottleFile
from app.core.yamltree import Path
from app.errors import ConfigError, NotFound

MAX_CHAIN = 64
"""Nobody nests bottles so deeply by intent; Python's own stack would end at about 300."""

Read = Callable[[str], BottleFile | None]
"""The bottle of that name, None if there is none. Raises ConfigError for a broken file."""


@dataclass(frozen=True)
class Lineage:
    """`files` from the most general to the most specific. `repos` names those whose git-gate.repos count: not the
    ones that a descendant's explicit `{}` cleared."""

    files: tuple[BottleFile, ...]
    repos: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return " -> ".join(file.name for file in self.files)

    def file(self, name: str) -> BottleFile:
        return next(file for file in self.files if file.name == name)


def trace(names: Sequence[str], read: Read, known: Collection[str] = ()) -> Lineage:
    """The lineage of `names`, folded in their order. `known` are the names that a message may offer."""
    walk = _Walk(read, tuple(sorted(known)))
    alive: frozenset[str] = frozenset()
    for name in names:
        alive |= walk.visit(name, (), None)
    return Lineage(tuple(walk.order), alive)


def check_hosts(lineage: Lineage) -> None:
    """One host twice after the whole merge is an error that names both files: neither silently wins."""
    seen: dict[str, BottleFile] = {}
    for file in lineage.files:
        for index, route in enumerate(file.bottle.egress.routes):
            path: Path = ("egress", "routes", index)
            first = seen.setdefault(route.host, file)
            if first is not file:
                message = f"{route.host} has a route in {first.file} and in {file.file}"
                hint = "Keep one of the two, or move what they share into a bottle that both extend"
                raise file.fault(message, hint, path)


@dataclass
class _Walk:
    read: Read
    known: tuple[str, ...]
    order: list[BottleFile] = field(default_factory=list[BottleFile])
    done: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    def visit(self, name: str, chain: tuple[str, ...], child: BottleFile | None) -> frozenset[str]:
        """Put `name` into the order after its ancestors; returns whose repositories it ends up with."""
        if name in chain:
            raise self._circle(name, chain, child)
        if name in self.done:
            return self.done[name]
        file = self._open(name, (*chain, name), child)
        alive: frozenset[str] = frozenset()
        for parent in file.bottle.extends:
            alive |= self.visit(parent, (*chain, name), file)
        alive = self._repos(file, alive)
        self.order.append(file)
        self.done[name] = alive
        return alive

    def _open(self, name: str, chain: tuple[str, ...], child: BottleFile | None) -> BottleFile:
        if len(chain) > MAX_CHAIN:
            raise _at_extends(child, name, f"more than {MAX_CHAIN} bottles extend each other", "Join some of them")
        try:
            file = self.read(name)
        except ConfigError as error:
            if child is None:
                raise
            raise replaced(error, message=f"{error.message} (in {_arrows(chain)})") from None
        if file is not None:
            return file
        hint = f"Bottles here: {', '.join(self.known)}" if self.known else "Run `carboy init` for the starter bottles"
        if child is None:
            raise NotFound(f"there is no bottle named {name!r}", hint, "no_such_bottle")
        raise _at_extends(child, name, f"there is no bottle named {name!r} ({_arrows(chain)})", hint)

    def _circle(self, name: str, chain: tuple[str, ...], child: BottleFile | None) -> ConfigError:
        circle = _arrows((*chain[chain.index(name) :], name))
        if chain[-1] == name:
            return _at_extends(child, name, f"{name} extends itself ({circle})", "Remove the name from its own extends")
        led = f", reached by {_arrows((*chain, name))}" if chain[0] != name else ""
        return _at_extends(child, name, f"bottles extend each other in a circle ({circle}{led})", "Cut one link of it")

    @staticmethod
    def _repos(file: BottleFile, inherited: frozenset[str]) -> frozenset[str]:
        gate = file.bottle.git_gate
        if "repos" not in gate.model_fields_set:
            return inherited
        return inherited | {file.name} if gate.repos else frozenset()


def _arrows(chain: Sequence[str]) -> str:
    return " -> ".join(chain)


def _at_extends(child: BottleFile | None, name: str, message: str, hint: str) -> ConfigError:
    if child is None:
        return ConfigError(message, hint, key=name)
    given = child.document.value.get("extends")
    path: Path = ("extends", given.index(name)) if isinstance(given, tuple) and name in given else ("extends",)
    return child.fault(message, hint, path)
