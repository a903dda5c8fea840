"""Bottles and agent joined into one Manifest in which every value remembers the file it came from. Pure.

A bottle is taken apart into leaves (path → value and source), leaves are laid over each other, and the result is put
together and validated once more. What a file does not set has no leaf, so an unset child never resets a parent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from app.core.lineage import Lineage, check_hosts
from app.core.manifest import AgentFile
from app.core.model import Provenance
from app.core.schema import Amount, Bottle, BudgetScope, GitUser, Manifest, Settings
from app.core.scopes import agent_scope, bottle_scope

Path = tuple[str, ...]

ROUTES: Path = ("egress", "routes")
MASKS: Path = ("masks",)
NAMES: Path = ("sensitive_env",)
USER: Path = ("git-gate", "user")
REPOS: Path = ("git-gate", "repos")
PROVIDER: Path = ("agent_provider",)
TEMPLATE: Path = ("agent_provider", "template")
BACKEND: Path = ("backend",)
_COLLECTED = frozenset({ROUTES, MASKS, NAMES})
_WHOLE_BELOW = frozenset({"env", "budget"})
"""Keys whose entries are one value each: half a `{secret: …}` makes no sense."""


@dataclass(frozen=True)
class Leaf:
    """One value and who set it. Collections (routes, masks) are tuples with a source for each item."""

    value: Any
    sources: tuple[str, ...]


Leaves = Mapping[Path, Leaf]


def leaves(bottle: Bottle, source: str, *, repos: bool = True) -> Leaves:
    """What `bottle` sets. `repos=False` leaves its repositories out, for one that a descendant cleared."""
    found: dict[Path, Leaf] = {}
    _take_apart(bottle.model_dump(by_alias=True, exclude_unset=True, exclude={"extends"}), (), source, found)
    return found if repos else {path: leaf for path, leaf in found.items() if path[:2] != REPOS}


def overlay(lower: Leaves, upper: Leaves) -> Leaves:
    """`upper` over `lower`, by the table of manifests.md."""
    result = dict(lower)
    if _other_template(lower, upper):
        # another CLI: its predecessor's arguments and credential mean nothing to it
        result = {path: leaf for path, leaf in result.items() if path[:1] != PROVIDER}
    for path, leaf in upper.items():
        if path in _COLLECTED and path in result:
            result[path] = _collect(path, result[path], leaf)
        elif path[:2] == USER and not leaf.value and path in result:
            continue  # an empty name does not win
        else:
            result[path] = leaf
    return result


def fold(layers: Iterable[Leaves]) -> Leaves:
    """All layers, each over those before it."""
    result: Leaves = {}
    for layer in layers:
        result = overlay(result, layer)
    return result


def assemble(found: Leaves) -> Bottle:
    """The bottle that the leaves make; what no leaf sets stays unset."""
    tree: dict[str, Any] = {}
    for path, leaf in found.items():
        place = tree
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = leaf.value
    return Bottle.model_validate(tree)


def provenance(found: Leaves) -> dict[str, str]:
    """Dotted path → source; items of a collection have an index."""
    named: dict[str, str] = {}
    for path, leaf in found.items():
        name = ".".join(path)
        if path in _COLLECTED:
            named |= {f"{name}[{index}]": source for index, source in enumerate(leaf.sources)}
        else:
            named[name] = leaf.sources[0]
    return named


def join(agent: AgentFile | None, picked: tuple[str, ...], lineage: Lineage, settings: Settings) -> Manifest:
    """The manifest of one launch. Raises ConfigError where two files grant the same host."""
    check_hosts(lineage)
    layers = [leaves(file.bottle, file.name, repos=file.name in lineage.repos) for file in lineage.files]
    found = fold([_host_defaults(settings), *layers])
    warnings: list[str] = []
    budgets = _agent_budgets(agent, found, warnings) if agent is not None else {}
    if agent is not None:
        found = overlay(found, _agent_leaves(agent, budgets))
    routes = found.get(ROUTES)
    return Manifest(
        agent_name=agent.name if agent else None,
        agent=agent.agent if agent else Manifest().agent,
        prompt=agent.prompt if agent else "",
        bottle_names=picked,
        bottle=assemble(found),
        lineage=str(lineage),
        provenance=provenance(found),
        route_sources=routes.sources if routes else (),
        budget_scopes=_budget_scopes(agent, budgets, lineage),
        warnings=tuple(warnings),
        agent_file=agent.file if agent else "",
        agent_origin=("project" if agent.origin == "project" else "home") if agent else None,
        agent_hash=agent.digest if agent else None,
    )


def provenance_list(manifest: Manifest) -> tuple[Provenance, ...]:
    """Every value of the resolved manifest with where it came from, ready for display and for JSON."""
    lines: list[Provenance] = []
    agent = f"agent {manifest.agent_name}"
    if manifest.agent_name:
        lines.append(Provenance(path="agent", value=manifest.agent_name, source=manifest.agent_file))
        lines.append(Provenance(path="skills", value=list(manifest.agent.skills), source=_by_agent(manifest, "skills")))
    own = manifest.agent.bottle is not None and manifest.bottle_names == (manifest.agent.bottle,)
    lines.append(Provenance(path="bottles", value=list(manifest.bottle_names), source=agent if own else "launch"))
    whole: dict[str, Any] = manifest.bottle.model_dump(mode="json", by_alias=True, exclude={"extends"})
    routes = [route.model_dump(mode="json", exclude_unset=True) for route in manifest.bottle.egress.routes]
    whole["egress"]["routes"] = routes
    whole["budget"] = {name: value.model_dump(exclude_unset=True) for name, value in manifest.bottle.budget.items()}
    _display(whole, (), manifest.provenance, lines)
    return tuple(lines)


def _by_agent(manifest: Manifest, field: str) -> str:
    return f"agent {manifest.agent_name}" if field in manifest.agent.model_fields_set else "default"


def _display(value: Any, path: Path, sources: Mapping[str, str], lines: list[Provenance]) -> None:
    name = ".".join(path)
    if path in _COLLECTED and value:
        for index, item in enumerate(value):
            key = f"{name}[{index}]"
            lines.append(Provenance(path=key, value=item, source=sources.get(key, "default")))
    elif isinstance(value, dict) and value and not _is_leaf(path):
        for key, inner in cast(dict[str, Any], value).items():
            _display(inner, (*path, key), sources, lines)
    else:
        lines.append(Provenance(path=name, value=value, source=sources.get(name, "default")))


def _is_leaf(path: Path) -> bool:
    return path in _COLLECTED or path == ("unattended", "on_exit") or (len(path) == 2 and path[0] in _WHOLE_BELOW)


def _take_apart(value: Any, path: Path, source: str, found: dict[Path, Leaf]) -> None:
    if isinstance(value, dict) and not _is_leaf(path):
        for key, inner in cast(dict[str, Any], value).items():
            _take_apart(inner, (*path, key), source, found)
    elif path in _COLLECTED:
        found[path] = Leaf(tuple(value), (source,) * len(value))
    else:
        found[path] = Leaf(value, (source,))


def _other_template(lower: Leaves, upper: Leaves) -> bool:
    before, after = lower.get(TEMPLATE), upper.get(TEMPLATE)
    return before is not None and after is not None and before.value != after.value


def _collect(path: Path, lower: Leaf, upper: Leaf) -> Leaf:
    """Routes one after the other; the later mask of a path, and the earlier of two equal names."""
    pairs = list(zip(lower.value, lower.sources, strict=True))
    for item, source in zip(upper.value, upper.sources, strict=True):
        if path == MASKS:
            pairs = [pair for pair in pairs if pair[0]["path"] != item["path"]]
        if path != NAMES or all(pair[0] != item for pair in pairs):
            pairs.append((item, source))
    return Leaf(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))


def _host_defaults(settings: Settings) -> Leaves:
    """What settings.yml sets for bottles that say nothing themselves."""
    if "shutdown" not in settings.model_fields_set:
        return {}
    return {("shutdown",): Leaf(settings.shutdown, ("settings.yml",))}


def _agent_budgets(agent: AgentFile, below: Leaves, warnings: list[str]) -> dict[str, Amount]:
    """The agent's budgets that count: all of the operator's own, of a project's those that lower one."""
    budgets = dict(agent.agent.budget)
    if agent.origin == "project":
        budgets = {name: amount for name, amount in budgets.items() if _lowers(name, amount, below, warnings)}
    return budgets


def _budget_scopes(agent: AgentFile | None, budgets: Mapping[str, Amount], lineage: Lineage) -> tuple[BudgetScope, ...]:
    """The scopes between a launch and the host, the nearest first."""
    bottles = tuple(
        BudgetScope(scope=bottle_scope(file.name), budget=file.bottle.budget, source=file.name)
        for file in reversed(lineage.files)
    )
    if agent is None:
        return bottles
    source = f"agent {agent.name}"
    own = BudgetScope(
        scope=agent_scope(agent.name), budget=dict(budgets), source=source, beside=agent.origin == "project"
    )
    return (own, *bottles)


def _agent_leaves(agent: AgentFile, budgets: Mapping[str, Amount]) -> Leaves:
    """What an agent sets over its bottle: the git identity, field by field, and budgets."""
    source = f"agent {agent.name}"
    user: GitUser = agent.agent.git_gate.user
    found: dict[Path, Leaf] = {}
    for name, value in user.model_dump(exclude_unset=True).items():
        if value:
            found[(*USER, name)] = Leaf(value, (source,))
    for name, amount in budgets.items():
        found[("budget", name)] = Leaf(amount.model_dump(exclude_unset=True), (source,))
    return found


def _lowers(name: str, amount: Amount, below: Leaves, warnings: list[str]) -> bool:
    """Whether a project's budget may replace the operator's: only a lower one of the same unit, never a softer one."""
    given = below.get(("budget", name))
    if given is None:
        return True
    current = Amount.model_validate(given.value)
    unit = "tokens" if current.tokens is not None else "usd"
    wanted, limit = getattr(amount, unit), getattr(current, unit)
    if wanted is not None and wanted <= limit and amount.hard >= current.hard:
        return True
    warnings.append(f"the project's agent may not raise the budget for {name}; the one from {given.sources[0]} stays")
    return False
