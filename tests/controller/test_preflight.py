"""From a request to what would be made: names, secrets, routes, and everything that stands in the way at once."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.backends.local.backend import LocalBackend
from app.controller import disk_room
from app.controller import plan as plans
from app.controller.placeholders import canary, placeholder, placeholders
from app.controller.plan import environment, join_routes
from app.controller.preflight import Selected, make_plan, name
from app.core.model import LaunchRequest
from app.core.schema import Bottle, Manifest
from app.errors import CarboyError
from app.paths import Paths
from app.providers.base import Found
from app.providers.claude import ClaudeProvider
from sidecar.contract import Route
from sidecar.secret import Secret


async def no_backend(wish: str | None, manifest: Manifest) -> Selected:
    return None, (), CarboyError("No backend works here", "", "no_backend")


@pytest.fixture
def project(tmp_path: Path, paths: Paths) -> Path:
    paths.bottles.mkdir(parents=True)
    paths.agents.mkdir(parents=True)
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def bottle(paths: Paths, text: str) -> None:
    (paths.bottles / "b.md").write_text(f"---\n{text}\n---\n")


def ask(project: Path, **changes: object) -> LaunchRequest:
    values: dict[str, object] = {"bottles": ("b",), "command": ("/bin/true",), "cwd": str(project)}
    return LaunchRequest.model_validate(values | changes)


async def plan_of(paths: Paths, request: LaunchRequest, taken: frozenset[str] = frozenset()) -> plans.Plan:
    return await make_plan(request, paths, taken.__contains__, no_backend)


def codes(plan: plans.Plan) -> set[str]:
    return {problem.code for problem in plan.problems} - {"no_backend"}


async def test_all_that_stands_in_the_way_is_shown_at_once(paths: Paths, project: Path) -> None:
    bottle(paths, "env: {A: '${NOT_SET_HERE}', B: {secret: S}, C: {prompt: 'what?'}}\nsupervise: true")
    plan = await plan_of(paths, ask(project, cwd=str(project / "missing"), headless=True, command=()))
    assert {"env_unset", "secret_missing", "secret_unowned", "secret_prompt", "headless_task"} <= codes(plan)
    assert len(plan.shown.problems) == len(plan.problems)
    assert set(plan.shown.wants_env) >= {"NOT_SET_HERE", "S"}
    assert plan.shown.wants_prompt == {"C": "what?"}


async def test_what_is_asked_of_an_agent_where_none_hears_of_it_is_told(paths: Paths, project: Path) -> None:
    bottle(paths, "supervise: true")
    plan = await plan_of(paths, ask(project, model="opus", prompt="mend it"))
    assert [text for text in plan.shown.warnings if "not used" in text] == [
        "The task is not used: a command is run instead of an agent",
        "The model 'opus' is not used: the bottle has no agent that takes one",
    ]
    bottle(paths, "agent_provider: {template: claude}")
    plan = await plan_of(paths, ask(project, model="opus", prompt="mend it", command=()))
    assert not [text for text in plan.shown.warnings if "not used" in text]


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_vendor_that_may_fetch_for_the_agent_is_told_of(paths: Paths, project: Path, allowed: bool) -> None:
    bottle(paths, "egress: {vendor_fetch: true}" if allowed else "egress: {log: 1}")
    plan = await plan_of(paths, ask(project))
    assert plan.policy.vendor_fetch is allowed
    assert any("vendor_fetch" in text for text in plan.shown.warnings) is allowed


async def test_a_command_without_a_name_is_refused_before_the_launch(paths: Paths, project: Path) -> None:
    bottle(paths, "supervise: true")
    assert "no_command" in codes(await plan_of(paths, ask(project, command=("", "x"))))


async def test_a_disk_on_which_nothing_would_leave_the_bottle_is_told_before(
    paths: Paths, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bottle(paths, "supervise: true")
    paths.state.mkdir(parents=True, exist_ok=True)
    free = 100_000_000
    monkeypatch.setattr(disk_room, "_free", lambda _: free)
    assert not any("disk" in text for text in (await plan_of(paths, ask(project))).shown.warnings)
    free = 1000
    assert any("Nothing leaves any bottle" in text for text in (await plan_of(paths, ask(project))).shown.warnings)


async def test_an_unknown_provider_or_backend_is_told_with_its_key_and_file(paths: Paths, project: Path) -> None:
    bottle(paths, "agent_provider: {template: clade}\nbackend: dokcer")
    plan = await plan_of(paths, ask(project))
    told = [problem.message for problem in plan.problems]
    assert "agent_provider.template (from b): no provider is called 'clade'" in told
    assert "backend (from b): No backend works here" in told
    plan = await plan_of(paths, ask(project, backend="dokcer"))
    assert "No backend works here" in [problem.message for problem in plan.problems]


async def test_a_runtime_is_never_left_aside(paths: Paths, project: Path) -> None:
    async def local(wish: str | None, manifest: Manifest) -> Selected:
        return LocalBackend(no_holder, lambda _: ""), (), None

    async def no_holder(_: str) -> Any:
        raise AssertionError

    bottle(paths, "runtime: runsc")
    plan = await make_plan(ask(project), paths, lambda _: False, local)
    assert "not_supported" in codes(plan)
    assert any("cannot run under runsc" in problem.message for problem in plan.problems)


async def test_sources_of_secrets(paths: Paths, project: Path) -> None:
    bottle(
        paths,
        "env: {B: {secret: S}, C: {prompt: 'what?'}}\negress:\n  routes:\n"
        "    - {host: a.example, auth: {token_ref: S}}\n    - {host: b.example, auth: {token_ref: C}}",
    )
    request = ask(project, env={"S": "from-the-environment"}, secrets={"C": "typed-in-at-launch"})
    plan = await plan_of(paths, request)
    assert codes(plan) == set()
    assert {need.name: need.source for need in plan.shown.secrets} == {"S": "environment", "C": "request"}
    assert plan.secret_env == {"B": "S", "C": "C"}
    text = plan.shown.model_dump_json() + repr(plan)
    assert "from-the-environment" not in text
    assert "typed-in-at-launch" not in text


async def test_a_key_that_the_agent_lacks_can_be_typed_in_where_others_would_do_as_well(
    paths: Paths, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bottle(paths, "agent_provider: {template: claude}")
    without_cli = await plan_of(paths, ask(project, command=()))
    assert {"provider_missing", "secret_missing"} <= codes(without_cli)
    (missing,) = (error for error in without_cli.problems if error.code == "provider_missing")
    assert "npm install" in missing.hint
    assert "carboy serve --stop" in missing.hint
    assert without_cli.shown.secrets == ()
    monkeypatch.setattr(ClaudeProvider, "find", lambda self, environ: Found(program="claude", version="2"))
    (need,) = (await plan_of(paths, ask(project, command=()))).shown.secrets
    assert (need.name, need.source) == ("ANTHROPIC_API_KEY", "missing")
    assert "CLAUDE_CODE_OAUTH_TOKEN would do as well" in need.used_by
    typed = await plan_of(paths, ask(project, command=(), secrets={need.name: "sk-ant-typed-in"}))
    assert codes(typed) == set()
    assert [(one.name, one.source) for one in typed.shown.secrets] == [("ANTHROPIC_API_KEY", "request")]


async def test_a_host_value_that_is_a_credential_is_refused(paths: Paths, project: Path) -> None:
    bottle(paths, "env: {A: '${TOKEN}'}")
    plan = await plan_of(paths, ask(project, env={"TOKEN": "ghp_" + "a1B2" * 9}))
    assert codes(plan) == {"env_credential"}
    assert "ghp_" not in plan.shown.model_dump_json()


async def test_short_secrets_are_warned_of(paths: Paths, project: Path) -> None:
    bottle(paths, "egress:\n  routes:\n    - {host: a.example, auth: {token_ref: S}}")
    plan = await plan_of(paths, ask(project, env={"S": "tiny"}))
    assert any("S is shorter" in warning for warning in plan.shown.warnings)


@pytest.mark.parametrize(
    ("changes", "taken", "slug", "code"),
    [
        ({"label": "My Task!"}, set(), "my-task", ""),
        ({"label": "My Task!"}, {"my-task"}, "my-task", "name_in_use"),
        ({"label": "!!!"}, set(), "true", "bad_name"),
        ({"label": "x", "headless": True}, {"x", "x-2"}, "x-3", ""),
        ({"headless": True}, {"true"}, "true-2", ""),
        ({"agent": "developer", "headless": True}, set(), "developer", ""),
    ],
)
def test_names(changes: dict[str, object], taken: set[str], slug: str, code: str) -> None:
    request = LaunchRequest.model_validate({"command": ("/bin/true",), "cwd": "/", **changes})
    found, _, refusal = name(request, Manifest(), taken.__contains__)
    assert found == slug
    assert (refusal.code if refusal else "") == code


def test_without_a_label_the_name_ends_at_random() -> None:
    request = LaunchRequest.model_validate({"agent": "dev", "cwd": "/"})
    names = {name(request, Manifest(), lambda _: False)[0] for _ in range(20)}
    assert len(names) > 15
    assert all(found.startswith("dev-") for found in names)


@pytest.mark.parametrize(
    ("shown", "taken", "kept"),
    [("dev-12ab", set[str](), True), ("dev-12ab", {"dev-12ab"}, False), ("other-12ab", set[str](), False)],
)
def test_a_launch_keeps_the_name_that_its_preflight_showed(shown: str, taken: set[str], kept: bool) -> None:
    request = LaunchRequest.model_validate({"agent": "dev", "cwd": "/", "name": shown})
    found, label, _ = name(request, Manifest(), taken.__contains__)
    assert (found == shown) is kept
    assert found.startswith("dev-")
    assert label == found


def test_the_providers_route_wins_for_its_host() -> None:
    manifest = Manifest.model_validate(
        {"bottle": {"egress": {"routes": [{"host": "api.example"}, {"host": "other.example"}]}}}
    )
    own = Route(host="api.example", ports=(443,))
    routes, hosts, warnings = join_routes((own,), manifest)
    assert routes[0] is own
    assert [route.host for route in routes] == ["api.example", "other.example"]
    assert hosts == ("api.example",)
    assert "api.example" in warnings[0]


def test_host_values_are_put_in_place() -> None:
    manifest = Manifest(bottle=Bottle(env={"A": "x-${N}-${M}", "B": "plain"}))
    found = environment(manifest, {"N": Secret("1"), "M": Secret("2")})
    assert found.plain == {"A": "x-1-2", "B": "plain"}
    assert found.wants == ("N", "M")


def test_placeholders_are_unique_and_name_their_bottle() -> None:
    made = {placeholder("my-bottle", "T", "sk-ant-api03-").value for _ in range(100)}
    assert len(made) == 100
    assert all(value.startswith("sk-ant-api03-carboy-mybottle-") for value in made)
    both = placeholders("s", {"A": "", "B": "ghp_"})
    assert both["B"].value.startswith("ghp_")
    assert both["A"].token_ref == "A"


def test_canaries() -> None:
    first, second = canary(), canary()
    assert first[0].count("_") == 2
    assert first[0].endswith("_SECRET")
    assert len(bytes.fromhex(first[1].reveal())) == 32
    assert first[1] != second[1]


async def test_a_misspelt_budget_of_the_settings_is_told_of(paths: Paths, project: Path) -> None:
    bottle(paths, "agent_provider: {template: shell}")
    paths.settings.write_text("budget: {cluade: 5M, claude: 5M}\n")
    plan = await plan_of(paths, ask(project))
    (warning,) = [text for text in plan.shown.warnings if "budget" in text]
    assert warning.startswith("settings.yml: nothing is counted as cluade")


async def test_a_budget_without_a_name_is_the_bottles_own(paths: Paths, project: Path) -> None:
    bottle(paths, "agent_provider: {template: claude}")
    plan = await plan_of(
        paths, ask(project, budget={"": "500k"}, env={"ANTHROPIC_API_KEY": "sk-ant-api03-" + "x" * 30})
    )
    assert {name: amount.tokens for name, amount in plan.budget.items()} == {"claude": 500_000}
    bottle(paths, "env: {}")
    plan = await plan_of(paths, ask(project, budget={"": "500k"}))
    assert codes(plan) == {"bad_budget"}


async def test_what_gits_config_names_in_the_project_is_masked(paths: Paths, project: Path) -> None:
    bottle(paths, "supervise: true")
    subprocess.run(["git", "-C", str(project), "init", "-q"], check=True)
    subprocess.run(["git", "-C", str(project), "config", "core.hooksPath", ".githooks"], check=True)
    assert ".githooks: read-only" in (await plan_of(paths, ask(project))).shown.masks


def git(folder: Path, *words: str) -> None:
    settings = ("user.name=a", "user.email=a@b.example", "protocol.file.allow=always")
    options = [part for one in settings for part in ("-c", one)]
    subprocess.run(["git", "-C", str(folder), *options, *words], check=True, capture_output=True)


def git_warnings(plan: plans.Plan) -> list[str]:
    return [text for text in plan.shown.warnings if "Git does not work" in text]


async def test_a_project_whose_repository_is_elsewhere_is_told_that_git_does_not_work(
    paths: Paths, project: Path
) -> None:
    bottle(paths, "supervise: true")
    assert not git_warnings(await plan_of(paths, ask(project)))
    git(project, "init", "-q")
    git(project, "commit", "-q", "--allow-empty", "-m", "x")
    assert not git_warnings(await plan_of(paths, ask(project)))
    tree, above = project.parent / "tree", project.parent / "above"
    git(project, "worktree", "add", "-q", str(tree))
    (told,) = git_warnings(await plan_of(paths, ask(tree)))
    assert str(project / ".git" / "worktrees" / "tree") in told
    assert "clone" in told
    above.mkdir()
    git(above, "init", "-q")
    git(above, "submodule", "add", "-q", str(project), "sub")
    assert not git_warnings(await plan_of(paths, ask(above)))
    (told,) = git_warnings(await plan_of(paths, ask(above / "sub")))
    assert str(above / ".git" / "modules" / "sub") in told
    (above / "docs").mkdir()
    (told,) = git_warnings(await plan_of(paths, ask(above / "docs")))
    assert f"Start in {above}" in told
    assert not git_warnings(await plan_of(paths, ask(above / "docs", workspace="none")))


async def test_a_gitlink_that_is_none_keeps_nobody_waiting(paths: Paths, project: Path) -> None:
    bottle(paths, "supervise: true")
    os.mkfifo(project / ".git")
    assert not git_warnings(await plan_of(paths, ask(project)))


async def test_a_project_that_cannot_be_written_is_told_before_the_launch(
    paths: Paths, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bottle(paths, "supervise: true")
    really = os.access
    monkeypatch.setattr(  # root may write everywhere but on a file system that is mounted read-only
        os, "access", lambda path, mode: (path != project or not mode & os.W_OK) and really(path, mode)
    )
    assert "project_read_only" in codes(await plan_of(paths, ask(project)))
    for workspace in ("copy", "read-only", "none"):
        assert "project_read_only" not in codes(await plan_of(paths, ask(project, workspace=workspace)))
