"""The extends graph and the merge table of manifests.md, and the laws that the merge keeps."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.lineage import MAX_CHAIN, Lineage, check_hosts, trace
from app.core.manifest import AgentFile, BottleFile, parse_agent, parse_bottle
from app.core.merge import MASKS, NAMES, ROUTES, Leaves, assemble, fold, join, leaves, overlay, provenance_list
from app.core.schema import Bottle, Manifest, Settings
from app.errors import ConfigError, NotFound

Files = Mapping[str, str]


def shelf(files: Files) -> Any:
    def read(name: str) -> BottleFile | None:
        text = files.get(name)
        return None if text is None else parse_bottle(f"---\n{text}\n---\n".encode(), name, f"{name}.md")

    return read


def traced(files: Files, *names: str) -> Lineage:
    return trace(names, shelf(files), tuple(files))


def joined(files: Files, *names: str, agent: AgentFile | None = None, host: Settings | None = None) -> Manifest:
    return join(agent, names, traced(files, *names), host or Settings())


def agent(text: str, origin: str = "home") -> AgentFile:
    return parse_agent(f"---\n{text}\n---\nBe kind.".encode(), "helper", "helper.md", origin=origin)


# --- the graph ---------------------------------------------------------------------------------------------------


def test_order_and_a_shared_ancestor_once() -> None:
    files = {
        "base": "egress: {routes: [{host: a.com}]}\nsupervise: true",
        "left": "extends: base\nsupervise: false",
        "right": "extends: [base]\nlearn: true",
        "top": "extends: [left, right]",
    }
    lineage = traced(files, "top")
    assert str(lineage) == "base -> left -> right -> top"
    manifest = joined(files, "top")
    assert len(manifest.bottle.egress.routes) == 1
    # `right` does not set it, so that its ancestor does not undo what `left` says
    assert manifest.bottle.supervise is False
    assert manifest.provenance["supervise"] == "left"


def test_picked_bottles_fold_in_their_order() -> None:
    files = {"a": "workspace: copy", "b": "workspace: none", "c": "extends: a"}
    assert joined(files, "a", "b").bottle.workspace == "none"
    assert joined(files, "b", "a").bottle.workspace == "copy"
    assert str(traced(files, "b", "c")) == "b -> a -> c"
    assert joined(files, "a", "b").bottle_names == ("a", "b")


@pytest.mark.parametrize(
    ("files", "start", "words", "place"),
    [
        ({"a": "extends: a"}, "a", "a extends itself (a -> a)", "a.md:2"),
        ({"a": "extends: b", "b": "extends: b"}, "a", "b extends itself (b -> b)", "b.md:2"),
        ({"a": "extends: b", "b": "extends: c", "c": "extends: a"}, "a", "circle (a -> b -> c -> a)", "c.md:2"),
        (
            {"x": "extends: a", "a": "extends: [b]", "b": "extends: a"},
            "x",
            "circle (a -> b -> a, reached by x -> a -> b -> a)",
            "b.md:2",
        ),
        ({"a": "extends:\n  - b\n  - nope", "b": ""}, "a", "no bottle named 'nope' (a -> nope)", "a.md:4"),
        ({"a": "extends: b", "b": "extends: nope"}, "a", "no bottle named 'nope' (a -> b -> nope)", "b.md:2"),
        ({"a": "extends: b", "b": "extends: 3"}, "a", "not a number (in a -> b)", "b.md:2"),
        ({"a": "extends: b", "b": "extends: [c, 3]"}, "a", "entry 2 of extends is not a name", "b.md:2"),
        ({"a": "extends: b", "b": "extends: {c: d}"}, "a", "not a mapping (in a -> b)", "b.md:2"),
        ({"a": "extends: b", "b": "nope: 1"}, "a", "unknown key 'nope' (in a -> b)", "b.md:2"),
    ],
)
def test_broken_graphs(files: Files, start: str, words: str, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        traced(files, start)
    assert words in caught.value.message
    assert caught.value.located().startswith(place)
    assert caught.value.hint


def test_an_unknown_bottle_lists_the_known_ones() -> None:
    with pytest.raises(NotFound, match="no bottle named 'x'") as caught:
        traced({"a": "", "b": ""}, "x")
    assert caught.value.hint == "Bottles here: a, b"


def test_a_chain_without_end() -> None:
    files = {f"b{n}": f"extends: b{n + 1}" for n in range(MAX_CHAIN + 5)}
    with pytest.raises(ConfigError, match="more than 64"):
        traced(files, "b0")


def test_a_wide_diamond_is_walked_once() -> None:
    files = {f"b{n}": f"extends: [b{n + 1}, b{n + 1}]" for n in range(40)} | {"b40": ""}
    assert len(traced(files, "b0").files) == 41


def test_one_host_twice_names_both_files() -> None:
    files = {
        "a": "egress: {routes: [{host: x.com}]}",
        "b": "egress:\n  routes:\n    - host: y.com\n    - host: X.com.",
        "c": "extends: [a, b]",
    }
    with pytest.raises(ConfigError) as caught:
        check_hosts(traced(files, "c"))
    assert caught.value.message == "x.com has a route in a.md and in b.md"
    assert caught.value.located().startswith("b.md:5: egress.routes[1] (X.com.)")
    with pytest.raises(ConfigError):
        joined(files, "a", "b")
    assert joined(files | {"b": "egress: {routes: [{host: '*.x.com'}, {host: a.x.com}]}"}, "c")


# --- the table ---------------------------------------------------------------------------------------------------


def child(parent: str, over: str) -> Bottle:
    return joined({"p": parent, "c": f"extends: p\n{over}"}, "c").bottle


def test_env_by_key() -> None:
    found = child("env: {A: 1, B: {secret: S}}", "env: {B: x, C: 3}").env
    assert found == {"A": "1", "B": "x", "C": "3"}
    assert child("env: {A: 1}", "env: {}").env == {"A": "1"}


def test_git_user_field_by_field_and_empty_does_not_win() -> None:
    found = child("git-gate: {user: {name: A, email: a@x}}", "git-gate: {user: {name: '', email: b@x}}").git_gate.user
    assert (found.name, found.email) == ("A", "b@x")


def test_repositories_by_name_and_field() -> None:
    found = child(
        "git-gate: {repos: {a: {url: u, review: true}, b: {url: v}}}",
        "git-gate: {repos: {a: {force_push: true}, c: {url: w}}}",
    ).git_gate.repos
    assert set(found) == {"a", "b", "c"}
    assert (found["a"].url, found["a"].review, found["a"].force_push) == ("u", True, True)


def test_a_childs_empty_repositories_clear_but_a_parents_do_not() -> None:
    files = {
        "base": "git-gate: {repos: {shared: {url: s}}}",
        "git": "extends: base\ngit-gate: {repos: {a: {url: u}}}",
        "none": "extends: base\ngit-gate: {repos: {}}",
        "both": "extends: [git, none]",
        "other": "extends: [none, git]",
        "clear": "extends: both\ngit-gate: {repos: {}}",
        "again": "extends: clear\ngit-gate: {repos: {z: {url: z}}}",
    }
    assert set(joined(files, "none").bottle.git_gate.repos) == set()
    assert set(joined(files, "both").bottle.git_gate.repos) == {"shared", "a"}
    assert set(joined(files, "other").bottle.git_gate.repos) == {"shared", "a"}
    assert set(joined(files, "clear").bottle.git_gate.repos) == set()
    assert set(joined(files, "again").bottle.git_gate.repos) == {"z"}
    assert set(joined(files, "git", "none").bottle.git_gate.repos) == {"shared", "a"}


@pytest.mark.parametrize(
    ("key", "parent", "over"),
    [
        ("supervise", "false", "true"),
        ("shutdown", "freeze", "cutoff"),
        ("backend", "docker", "local"),
        ("isolation", "vm", "process"),
        ("workspace", "none", "mount"),
        ("cutoff_scope", "all", "metered"),
        ("learn", "true", "false"),
    ],
)
def test_the_last_one_set_wins_even_if_it_is_the_default(key: str, parent: str, over: str) -> None:
    def shown(text: str) -> str:
        return str(getattr(child(f"{key}: {parent}", text), key)).lower()

    assert shown(f"{key}: {over}") == over
    assert shown("# nothing set") == parent


def test_nested_fields_are_set_one_by_one() -> None:
    assert child("egress: {log: 2}", "egress: {routes: []}").egress.log == 2
    found = child("limits: {memory: 1GiB, pids: 5}", "limits: {pids: 7}").limits
    assert (found.memory, found.pids) == (2**30, 7)
    budget = child("budget: {claude: 5, codex: {usd: 1}}", "budget: {claude: {usd: 2}}").budget
    assert (budget["claude"].tokens, budget["claude"].usd, budget["codex"].usd) == (None, 2, 1)
    unattended = child("unattended: {hold: park, on_exit: {resume: 2}}", "unattended: {on_exit: keep}").unattended
    assert (unattended.hold, unattended.on_exit) == ("park", "keep")


def test_provider_settings_stay_with_their_template() -> None:
    parent = "agent_provider: {template: claude, auth_token: K, settings: {model: opus, extra: 1}}"
    same = child(parent, "agent_provider: {settings: {model: haiku}}").agent_provider
    assert (same.template, same.auth_token, same.settings.model) == ("claude", "K", "haiku")
    assert same.settings.model_extra == {"extra": 1}
    other = child(parent, "agent_provider: {template: codex}").agent_provider
    assert (other.template, other.auth_token, other.settings.model) == ("codex", None, None)


def test_masks_and_names_add_up() -> None:
    found = child("masks: [a, {path: b, mode: read-only}]\nsensitive_env: [A]", "masks: [c, {path: a, mode: allow}]\n"
                  "sensitive_env: [A, B]")  # fmt: skip
    assert [(mask.path, mask.mode) for mask in found.masks] == [("b", "read-only"), ("c", "hide"), ("a", "allow")]
    assert found.sensitive_env == ("A", "B")


def test_routes_are_joined_and_know_their_file() -> None:
    files = {"p": "egress: {routes: [{host: a.com}]}", "c": "extends: p\negress: {routes: [{host: b.com}]}"}
    manifest = joined(files, "c")
    assert [route.host for route in manifest.bottle.egress.routes] == ["a.com", "b.com"]
    assert manifest.route_sources == ("p", "c")


# --- the agent ---------------------------------------------------------------------------------------------------


def test_an_agent_lies_over_its_bottle() -> None:
    files = {"b": "git-gate: {user: {name: A, email: a@x}}\nbudget: {claude: 5}"}
    over = agent("git-gate: {user: {email: me@x, name: ''}}\nbudget: {claude: 9, codex: 1}\nskills: [pdf]")
    manifest = joined(files, "b", agent=over)
    assert manifest.bottle.git_gate.user.model_dump() == {"name": "A", "email": "me@x"}
    assert manifest.bottle.budget["claude"].tokens == 9
    assert manifest.provenance["git-gate.user.email"] == "agent helper"
    assert manifest.provenance["git-gate.user.name"] == "b"
    assert manifest.prompt == "Be kind."
    assert not manifest.warnings


@pytest.mark.parametrize(
    ("mine", "theirs", "result"),
    [
        ("5000", "4000", (4000, None)),
        ("5000", "5000", (5000, None)),
        ("5000", "6000", (5000, None)),
        ("5000", "{usd: 1}", (5000, None)),
        ("{usd: 5}", "{usd: 4}", (None, 4)),
        ("{usd: 5}", "1", (None, 5)),
        ("{tokens: 5000, hard: true}", "4000", (5000, None)),
        ("{tokens: 5000, hard: true}", "{tokens: 4000, hard: true}", (4000, None)),
    ],
)
def test_a_projects_agent_may_lower_a_budget_never_raise_one(
    mine: str, theirs: str, result: tuple[int | None, float | None]
) -> None:
    manifest = joined(
        {"b": f"budget: {{claude: {mine}}}"}, "b", agent=agent(f"budget: {{claude: {theirs}}}", "project")
    )
    amount = manifest.bottle.budget["claude"]
    assert (amount.tokens, amount.usd) == result
    lowered = manifest.provenance["budget.claude"] == "agent helper"
    assert lowered is not bool(manifest.warnings)


def test_a_projects_agent_may_set_a_budget_where_there_is_none() -> None:
    manifest = joined({"b": ""}, "b", agent=agent("budget: {claude: 5}", "project"))
    assert manifest.bottle.budget["claude"].tokens == 5


def test_the_hosts_default_cutoff_holds_unless_a_bottle_says_otherwise() -> None:
    host = Settings(shutdown="freeze")
    manifest = joined({"b": ""}, "b", host=host)
    assert (manifest.bottle.shutdown, manifest.provenance["shutdown"]) == ("freeze", "settings.yml")
    assert joined({"b": "shutdown: cutoff"}, "b", host=host).bottle.shutdown == "cutoff"
    assert "shutdown" not in joined({"b": ""}, "b").provenance


def test_provenance_list_shows_every_value() -> None:
    files = {"base": "supervise: true\negress: {routes: [{host: a.com}]}", "dev": "extends: base\nlimits: {pids: 7}"}
    manifest = joined(files, "dev", agent=agent("bottle: dev"))
    lines = {line.path: line for line in provenance_list(manifest)}
    assert (lines["supervise"].value, lines["supervise"].source) == (True, "base")
    assert (lines["limits.pids"].value, lines["limits.pids"].source) == (7, "dev")
    assert lines["limits.memory"].source == "default"
    assert lines["egress.routes[0]"].value == {"host": "a.com"}
    assert lines["egress.routes[0]"].source == "base"
    assert lines["bottles"].source == "agent helper"
    assert all(line.model_dump_json() for line in lines.values())
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


# --- laws --------------------------------------------------------------------------------------------------------

HOSTS = st.lists(st.sampled_from(["a.com", "b.com", "*.c.com", "10.0.0.1"]), max_size=3, unique=True)
AMOUNTS = st.sampled_from([{"tokens": 5}, {"usd": 2.0}, {"tokens": 9, "hard": True}])
PARTS: dict[str, st.SearchStrategy[Any]] = {
    "env": st.dictionaries(st.sampled_from("ABC"), st.sampled_from(["1", "2", {"secret": "S"}, {"prompt": "p"}])),
    "supervise": st.booleans(),
    "learn": st.booleans(),
    "shutdown": st.sampled_from(["ask", "cutoff", "freeze", "kill"]),
    "workspace": st.sampled_from(["mount", "copy"]),
    "backend": st.sampled_from(["local", "docker"]),
    "limits": st.fixed_dictionaries({}, optional={"pids": st.integers(1, 9), "cpus": st.floats(1, 4)}),
    "budget": st.dictionaries(st.sampled_from(["claude", "codex"]), AMOUNTS),
    "egress": st.fixed_dictionaries(
        {}, optional={"log": st.integers(0, 2), "routes": HOSTS.map(lambda hosts: [{"host": host} for host in hosts])}
    ),
    "masks": st.lists(
        st.sampled_from("abc").map(lambda path: {"path": path}), max_size=2, unique_by=lambda m: m["path"]
    ),
    "sensitive_env": st.lists(st.sampled_from(["A", "B_*"]), unique=True),
    "git-gate": st.fixed_dictionaries(
        {}, optional={"repos": st.dictionaries(st.sampled_from("rs"), st.just({"url": "u"}), min_size=1)}
    ),
    "unattended": st.fixed_dictionaries({}, optional={"on_exit": st.sampled_from(["keep", {"resume": 2}])}),
}
BOTTLES = st.fixed_dictionaries({}, optional=PARTS).map(Bottle.model_validate)


def layer(bottle: Bottle, name: str) -> Leaves:
    return leaves(bottle, name)


@settings(deadline=None)
@given(BOTTLES, BOTTLES, BOTTLES)
def test_folding_is_associative(a: Bottle, b: Bottle, c: Bottle) -> None:
    one, two, three = layer(a, "a"), layer(b, "b"), layer(c, "c")
    assert overlay(overlay(one, two), three) == overlay(one, overlay(two, three))


@settings(deadline=None)
@given(BOTTLES)
def test_nothing_is_neutral_and_taking_apart_loses_nothing(a: Bottle) -> None:
    found = layer(a, "a")
    assert overlay({}, found) == found == overlay(found, {})
    assert assemble(found).model_dump() == a.model_dump()


@settings(deadline=None)
@given(BOTTLES)
def test_a_bottle_over_itself_adds_only_routes(a: Bottle) -> None:
    twice, once = assemble(fold([layer(a, "a"), layer(a, "b")])), a
    assert twice.model_dump(exclude={"egress"}) == once.model_dump(exclude={"egress"})
    assert twice.egress.log == once.egress.log
    assert twice.egress.routes == once.egress.routes * 2


@settings(deadline=None)
@given(st.lists(BOTTLES, min_size=1, max_size=4))
def test_provenance_names_a_file_that_sets_the_value(bottles: list[Bottle]) -> None:
    named = {f"b{index}": bottle for index, bottle in enumerate(bottles)}
    for path, leaf in fold(layer(bottle, name) for name, bottle in named.items()).items():
        assert leaf.sources or leaf.value == ()
        for source in leaf.sources:
            assert path in layer(named[source], source)
        if path not in (ROUTES, MASKS, NAMES):
            assert layer(named[leaf.sources[0]], "x")[path].value == leaf.value
