"""From a launch request to everything that would be made, without making anything. A dry run ends here.

What stands in the way is collected, not raised, so that the operator sees all of it at once; the launch refuses with
the first. Blocking work (files, the agent CLI's version, the keyring) runs off the loop.
"""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from app import manifests, night, settings
from app.backends import gitprograms, workspace
from app.backends import masks as pivot
from app.backends.base import Backend, BoxSpec
from app.backends.docker.images import FILE, RECIPE, has_recipe
from app.controller import deploykeys, project
from app.controller import plan as plans
from app.controller.disk_room import shortage
from app.controller.gitgate import key_problems
from app.controller.plan import Plan
from app.core import slug as slugs
from app.core.merge import provenance_list
from app.core.model import BackendReport, LaunchRequest, Preflight, SecretNeed, Workspace
from app.core.overnight import Profile, alone, hold_seconds, profile
from app.core.repositories import Repository, made, needed_secrets, repositories
from app.core.schema import Amount, Manifest, Mask, Settings
from app.errors import CarboyError, NotFound
from app.manifests.starters import library
from app.paths import Paths
from app.providers.base import Credential, Found, HostLogin, Picked, Provider, pick, with_auth
from app.providers.metered import countable, metered
from app.providers.registry import provider as provider_named
from app.search_path import leave_out
from app.secrets import Located, locate
from sidecar.allowance import Metered
from sidecar.contract import Policy, Route
from sidecar.secret import Secret

ELSEWHERE = (
    "If it is installed already, the controller was started without its folder on PATH: "
    "`carboy serve --stop` (bottles run on), then start it again from here"
)
type Selected = tuple[Backend | None, tuple[BackendReport, ...], CarboyError | None]
type Select = Callable[[str | None, Manifest], Awaitable[Selected]]
"""Chooses the backend for a request's wish and a manifest; the error says why there is none."""


SUFFIX = 4
"""Characters that tell apart bottles which were given no label."""


@dataclass
class Reading:
    """What was read for one request. Grows while the preflight goes on; frozen into a Plan at its end."""

    manifest: Manifest = field(default_factory=Manifest)
    settings: Settings = field(default_factory=Settings)
    project: Path | None = None
    workspace: Workspace = "mount"
    masks: tuple[Mask, ...] = ()
    provider: Provider | None = None
    image: str | None = None
    found: Found | None = None
    picked: Picked = field(default_factory=Picked)
    alternatives: tuple[Credential, ...] = ()
    routes: tuple[Route, ...] = ()
    provider_hosts: tuple[str, ...] = ()
    metered: tuple[Metered, ...] = ()
    budget: dict[str, Amount] = field(default_factory=dict[str, Amount])
    env: plans.Environment = field(default_factory=lambda: plans.Environment({}, {}, {}, (), ()))
    uses: dict[str, str] = field(default_factory=dict[str, str])
    located: dict[str, Located] = field(default_factory=dict[str, Located])
    login: HostLogin | None = None
    confirm: dict[str, str] = field(default_factory=dict[str, str])
    repos: tuple[Repository, ...] = ()
    problems: list[CarboyError] = field(default_factory=list[CarboyError])
    warnings: list[str] = field(default_factory=list[str])


async def make_plan(
    request: LaunchRequest,
    paths: Paths,
    taken: Callable[[str], bool],
    select: Select,
    *,
    launching: bool = False,
    slug: str | None = None,
) -> Plan:
    """Read everything and decide. Raises CarboyError only where nothing sensible can be shown (no such agent …).

    For a launch, a project's agent must be confirmed, judged by the very bytes that are used. `slug` is the name of a
    session that goes on under it.
    """
    reading = await asyncio.to_thread(_read, request, paths, request.confirm if launching else None)
    backend, tried, refusal = await select(request.backend, reading.manifest)
    if refusal is not None:
        unknown = refusal.code == "no_backend" and request.backend is None
        reading.problems.append(_said_by(reading.manifest, "backend", refusal) if unknown else refusal)
    await asyncio.to_thread(_find, reading, request, backend)
    reading.problems.sort(key=lambda one: not one.code.startswith("provider_"))  # what installs the agent comes first
    slug, label, refusal = (slug, request.label or slug, None) if slug else name(request, reading.manifest, taken)
    if refusal is not None:
        reading.problems.append(refusal)
    report = next((one for one in tried if backend is not None and one.name == backend.name and one.works), None)
    shown = _shown(request, paths, reading, slug, label, backend, report, tried)
    return Plan(
        request=request,
        manifest=reading.manifest,
        settings=reading.settings,
        shown=shown,
        problems=tuple(reading.problems),
        provider=reading.provider,
        found=reading.found,
        backend=backend,
        report=report,
        project=reading.project,
        policy=Policy(
            routes=reading.routes,
            provider_hosts=reading.provider_hosts,
            metered=reading.metered,
            log=reading.manifest.bottle.egress.log,
            vendor_fetch=reading.manifest.bottle.egress.vendor_fetch,
            supervise=reading.manifest.bottle.supervise,
            hold_seconds=hold_seconds(reading.manifest, min(reading.settings.approval_timeout_seconds, 3600)),
        ),
        shapes=_shapes(reading),
        env=reading.env.plain,
        secret_env=reading.env.secret,
        budget=reading.budget,
        secrets={name: reading.located[name] for name in reading.uses if name not in _forge_only(reading)},
        repos=reading.repos,
        forge_tokens={
            name: _value(reading, name) for name in (each.token_ref for each in reading.repos if each.deploys)
        },
        masks=reading.masks,
        login=reading.login.facts if reading.login is not None else {},
        image=reading.image,
        notes=plans.posture(reading.settings, report, reading.manifest),
    )


def name(
    request: LaunchRequest, manifest: Manifest, taken: Callable[[str], bool]
) -> tuple[str, str, CarboyError | None]:
    """Slug and label (cli.md, last paragraph), and the refusal where the wanted name cannot be had."""
    base = slugs.slugify(_base(request, manifest)) or "bottle"
    if request.label is None:
        slug = slugs.numbered(base, taken) if request.headless else _random(base, taken, request.name or "")
        return slug, slug, None
    label = " ".join(request.label.split())[:80]
    slug = slugs.slugify(label)
    if not slug:
        return (
            base,
            label,
            CarboyError(
                "The label holds no letter or digit that a name can be made of", "Choose another label", "bad_name"
            ),
        )
    if not taken(slug):
        return slug, label, None
    free = slugs.numbered(slug, taken)
    if request.headless:
        return free, label, None
    return slug, label, CarboyError(f"The name {slug} is in use", f"{free} is free", "name_in_use")


def _base(request: LaunchRequest, manifest: Manifest) -> str:
    if request.agent:
        return request.agent
    if request.command:
        return os.path.basename(request.command[0])
    return manifest.bottle_names[-1] if manifest.bottle_names else "bottle"


def _random(base: str, taken: Callable[[str], bool], shown: str) -> str:
    """`shown`, where it was made of this base and is still free; else another."""
    slug = shown if shown and shown == slugs.with_suffix(base, shown[-SUFFIX:]) else ""
    while not slug or taken(slug):
        slug = slugs.with_suffix(base, secrets.token_hex(SUFFIX // 2))
    return slug


# --- reading (blocking) ---------------------------------------------------------------------------------------------


def _read(request: LaunchRequest, paths: Paths, confirmed: tuple[str, ...] | None) -> Reading:
    reading = Reading()
    reading.settings = settings.load_settings(paths).settings
    cwd = Path(request.cwd)
    reading.manifest = manifests.resolve(
        paths,
        agent=request.agent,
        bottles=request.bottles,
        cwd=cwd,
        settings=reading.settings,
        confirmed=confirmed,
    )
    reading.manifest = alone(reading.manifest, request.unattended)
    bottle = reading.manifest.bottle
    reading.warnings += reading.manifest.warnings
    if paths.state.is_dir() and (full := shortage(paths.state)):
        reading.warnings.append(full)
    if request.headless or profile(reading.manifest) != Profile():
        reading.warnings += night.warnings()
    reading.workspace = request.workspace or bottle.workspace
    with _collect(reading):
        reading.project = None if reading.workspace == "none" else manifests.check_project(paths, cwd)
    if reading.project is not None:
        leave_out(reading.project)
        refusal = project.unwritable(reading.project) if reading.workspace == "mount" else None
        reading.problems += [refusal] if refusal is not None else []
        warning = project.git_outside(reading.project)
        reading.warnings += [warning] if warning is not None else []
    with _collect(reading):
        named = gitprograms.named(reading.project) if reading.project is not None else ()
        reading.masks = pivot.complete(bottle.masks, named) if reading.workspace != "none" else ()
    reading.repos, problems = repositories(reading.manifest)
    reading.problems += problems
    reading.problems += key_problems(reading.repos)
    with _collect(reading):
        try:
            reading.provider = provider_named(_template(reading.manifest))
        except NotFound as error:
            raise _said_by(reading.manifest, "agent_provider.template", error) from None
        _read_provider(reading, request)
        _read_budget(reading, request)
    _read_confirmations(reading, request, paths, cwd)
    _read_command(reading, request)
    return reading


def _read_command(reading: Reading, request: LaunchRequest) -> None:
    """What is run, and a warning for what was asked of an agent where none would hear of it."""
    problems, warnings = reading.problems, reading.warnings
    if request.headless and not request.prompt and not request.command:
        problems.append(
            CarboyError("Headless needs a task", "Give --prompt TEXT, or a command after --", "headless_task")
        )
    if request.command and not request.command[0]:
        problems.append(
            CarboyError("The command has no name", "Write the program first, as in -- make test", "no_command")
        )
    if request.command and request.prompt:
        warnings.append("The task is not used: a command is run instead of an agent")
    if request.model and _template(reading.manifest) == "shell":
        warnings.append(f"The model {request.model!r} is not used: the bottle has no agent that takes one")


def _said_by(manifest: Manifest, key: str, error: CarboyError) -> CarboyError:
    """`error` with the key that it is about, and the bottle file that says so."""
    source = manifest.provenance.get(key)
    text = f"{key} (from {source}): {error.message}" if source else error.message
    return type(error)(text, error.hint, error.code)


def _template(manifest: Manifest) -> str:
    return manifest.bottle.agent_provider.template or "shell"


def _read_provider(reading: Reading, request: LaunchRequest) -> None:
    provider, manifest = reading.provider, reading.manifest
    assert provider is not None
    provider.check(manifest)
    reading.alternatives = provider.credentials(manifest)
    reading.env = plans.environment(manifest, request.env)
    reading.problems += reading.env.problems
    own = provider.routes(manifest)
    routes, hosts, warnings = plans.join_routes(own, manifest)
    reading.warnings += warnings
    repos = needed_secrets(reading.repos)
    names = {one.token_ref for one in reading.alternatives} | set(plans.needed(routes, (), reading.env)) | set(repos)
    reading.located = locate(sorted(names), typed=request.secrets, environment=request.env)
    with _collect(reading):
        reading.login = provider.host_login(manifest, os.environ)
    if reading.login is not None:
        reading.located[reading.login.token_ref] = Located("login", reading.login.token)
    available = [name for name, found in reading.located.items() if found.source != "missing"]
    reading.picked = pick(reading.alternatives, available)
    reading.problems += [plans.missing_secret(names, "the agent") for names in reading.picked.missing]
    reading.routes = (*with_auth(own, reading.picked.chosen), *routes[len(own) :])
    reading.provider_hosts = hosts
    reading.metered = metered(provider, manifest, reading.env.plain)
    reading.uses = repos | plans.needed(reading.routes, reading.picked.chosen, reading.env)
    reading.problems += plans.secret_problems(reading.uses, reading.located, reading.env, reading.routes)
    reading.warnings += plans.short_secrets({name: reading.located[name] for name in reading.uses})


def _find(reading: Reading, request: LaunchRequest, backend: Backend | None) -> None:
    """The agent's CLI: on this host, or in the image that the bottle is made from."""
    provider, manifest = reading.provider, reading.manifest
    if provider is None:
        return
    template, own = _template(manifest), manifest.bottle.agent_provider.dockerfile
    if backend is not None and backend.uses_images:
        recipe = has_recipe(library() / "images", template)
        reading.image = f"{FILE}{own}" if own else f"{RECIPE}{template}" if recipe else None
    elif own:
        reading.warnings.append(f"agent_provider.dockerfile is for container backends: {own} is not used")
    if backend is not None and (problem := backend.runtime_problem(manifest.bottle.runtime)):
        reading.problems.append(problem)
    with _collect(reading):
        environ = dict(os.environ) | {name: value.reveal() for name, value in request.env.items()}
        if request.command and template == "shell":
            reading.found = Found(program=request.command[0], version="")
        elif backend is not None and backend.uses_images and template == "shell":
            reading.found = Found(program="/bin/sh" if own else "/bin/bash", version="")
        elif reading.image is not None:
            reading.found = Found(program=provider.name, version="", host_path="in the image")
        else:
            reading.found = _found(provider, environ)
        reading.warnings += reading.found.warnings


def _read_budget(reading: Reading, request: LaunchRequest) -> None:
    """This launch's own budgets, and a warning for those that nothing in the bottle would ever count against."""
    providers = {entry.provider for entry in reading.metered}
    for written, text in request.budget.items():
        name = written or _own(reading, providers)
        try:
            reading.budget[name] = Amount.model_validate(text)
        except ValidationError as error:
            why = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise CarboyError(
                f"--budget {name[:60]}: {why}", "Write claude=500k, or claude=$20", "bad_budget"
            ) from None
    for name in sorted(reading.settings.budget.keys() - set(countable())):
        text = f"settings.yml: nothing is counted as {name}, so its budget holds nothing"
        reading.warnings.append(f"{text}; known are {', '.join(countable())}")
    known = ", ".join(sorted(providers))
    for name in sorted({*reading.budget, *reading.manifest.bottle.budget} - providers):
        reading.warnings.append(f"Nothing here counts against the budget for {name}: this bottle can use {known}")


def _own(reading: Reading, providers: set[str]) -> str:
    """Whose budget an amount without a name is."""
    name = reading.provider.name if reading.provider is not None else ""
    if name in providers:
        return name
    hint = f"Write PROVIDER=AMOUNT for one of {', '.join(sorted(providers))}"
    raise CarboyError(f"--budget: what the provider {name} uses is not counted", hint, "bad_budget")


def _read_confirmations(reading: Reading, request: LaunchRequest, paths: Paths, cwd: Path) -> None:
    waiting = manifests.unconfirmed(paths, request.agent, cwd) | deploykeys.unconfirmed(paths, reading.repos)
    reading.confirm = {found: text for found, text in waiting.items() if found not in request.confirm}
    for text in reading.confirm.values():
        reading.problems.append(
            CarboyError(
                f"{text} has not been confirmed", "Start it once without --headless and confirm it", "unconfirmed"
            )
        )


def _forge_only(reading: Reading) -> set[str]:
    """Secrets that nothing but the making of deploy keys needs: no sidecar gets them."""
    forges = {each.token_ref for each in reading.repos if each.deploys}
    others = {each.token_ref for each in reading.repos if not each.deploys}
    return forges - others - set(plans.needed(reading.routes, reading.picked.chosen, reading.env))


def _value(reading: Reading, name: str) -> Secret:
    found = reading.located.get(name)
    return found.value if found is not None and found.value is not None else Secret("")


def _found(provider: Provider, environ: dict[str, str]) -> Found:
    """The agent's program. Who has one in a folder that joined their PATH later is not sent to install it again."""
    try:
        return provider.find(environ)
    except CarboyError as error:
        if error.code == "provider_missing":
            error.hint += f". {ELSEWHERE}"
        raise


class _collect:
    """Puts a CarboyError among the problems instead of raising it."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, CarboyError):
            self._reading.problems.append(error)
            return True
        return False


# --- showing --------------------------------------------------------------------------------------------------------


def _shapes(reading: Reading) -> dict[str, str]:
    shapes = dict.fromkeys(reading.env.secret.values(), "")
    return shapes | {one.token_ref: one.shape for one in reading.picked.chosen}


def _shown(
    request: LaunchRequest,
    paths: Paths,
    reading: Reading,
    slug: str,
    label: str,
    backend: Backend | None,
    report: BackendReport | None,
    tried: tuple[BackendReport, ...],
) -> Preflight:
    manifest = reading.manifest
    wants = [name for name, found in reading.located.items() if found.source in ("missing", "environment")]
    return Preflight(
        slug=slug,
        label=label,
        agent=request.agent,
        bottles=manifest.bottle_names,
        lineage=manifest.lineage,
        provider=_template(manifest),
        model=request.model or manifest.bottle.agent_provider.settings.model,
        backend=backend.name if backend else request.backend or "",
        engine=report.engine if report else "",
        isolation=backend.isolation if backend else "process",
        tried=tried,
        command=_command(request, reading),
        cwd=request.cwd,
        workspace=reading.workspace,
        resolved=provenance_list(manifest),
        routes=tuple(route.model_dump(mode="json", exclude_defaults=True) for route in reading.routes),
        creates=_creates(paths, slug, backend, reading, manifest),
        secrets=_secrets(reading),
        wants_env=tuple(dict.fromkeys((*reading.env.wants, *wants))),
        wants_prompt=dict(reading.env.prompts),
        confirm=reading.confirm,
        masks=tuple(pivot.describe(reading.masks)),
        warnings=tuple(dict.fromkeys((*reading.warnings, *plans.posture(reading.settings, report, reading.manifest)))),
        problems=tuple(problem.render() for problem in reading.problems),
    )


def _secrets(reading: Reading) -> tuple[SecretNeed, ...]:
    """What is used; and of credentials that are each good alone, and all missing, the first, so that it can be typed in
    (once there is an agent to use it)."""
    needs = [
        SecretNeed(name=name, used_by=used_by, source=reading.located[name].source)
        for name, used_by in reading.uses.items()
    ]
    for first, *others in reading.picked.missing if reading.found is not None else ():
        if first not in reading.uses:
            used_by = f"the agent; {' or '.join(others)} would do as well" if others else "the agent"
            needs.append(SecretNeed(name=first, used_by=used_by, source="missing"))
    return tuple(needs)


def _command(request: LaunchRequest, reading: Reading) -> tuple[str, ...]:
    return request.command or (reading.found.argv if reading.found else ())


def _creates(paths: Paths, slug: str, backend: Backend | None, reading: Reading, manifest: Manifest) -> tuple[str, ...]:
    state = paths.session_state(slug)
    lines = [
        f"state folder {state}",
        f"runtime folder below {paths.run}",
        "a certificate authority trusted in this bottle alone, its key in memory",
        "a sidecar process, the bottle's only way out",
    ]
    lines += made(reading.repos)
    if backend is not None:
        spec = BoxSpec(
            slug=slug,
            session_id="preflight",
            state=state,
            run=paths.session_run("preflight"),
            project=reading.project,
            project_writable=reading.workspace in ("mount", "copy"),
            project_copy=state / workspace.FOLDER if reading.workspace == "copy" else None,
            mounts=reading.found.mounts if reading.found else (),
            limits=manifest.bottle.limits,
            image=reading.image,
            runtime=manifest.bottle.runtime,
        )
        lines += backend.plan(spec)
    return tuple(lines)
