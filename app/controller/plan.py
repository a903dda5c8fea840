"""What one launch would make, as a value, and the pure decisions that lead to it. No I/O."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.backends.base import Backend
from app.core.credentials import credential_kind
from app.core.model import BackendReport, LaunchRequest, Preflight
from app.core.repositories import Repository
from app.core.schema import Amount, EnvPrompt, EnvSecret, Manifest, Mask, Settings
from app.errors import CarboyError
from app.providers.base import Credential, Found, Provider
from app.secrets import Located
from sidecar.contract import Policy, Route
from sidecar.secret import Secret

SHORT_SECRET = 12
"""egress.md: a shorter secret can be found only as it is, so the launch warns of it."""
_HOST_VALUE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Plan:
    """A launch that may start if `problems` is empty. Holds secrets: it never leaves the controller."""

    request: LaunchRequest
    manifest: Manifest
    settings: Settings
    shown: Preflight
    problems: tuple[CarboyError, ...]
    provider: Provider | None = None
    found: Found | None = None
    backend: Backend | None = None
    report: BackendReport | None = None
    project: Path | None = None
    policy: Policy = field(default_factory=Policy)
    shapes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Token names that get a placeholder, each with the prefix it needs."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    secret_env: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables that hold a placeholder, each with its token's name."""
    secrets: Mapping[str, Located] = field(default_factory=dict[str, Located])
    budget: Mapping[str, Amount] = field(default_factory=dict[str, Amount])
    """This launch's own, by provider."""
    masks: tuple[Mask, ...] = ()
    image: str | None = None
    notes: tuple[str, ...] = ()
    repos: tuple[Repository, ...] = ()
    forge_tokens: Mapping[str, Secret] = field(default_factory=dict[str, Secret])
    """What deploy keys are made with: for the controller alone."""
    login: Mapping[str, str] = field(default_factory=dict[str, str])
    """Facts of the host's login that the agent uses; its token is among `secrets`."""


@dataclass(frozen=True)
class Environment:
    """The bottle's own variables, from its manifest."""

    plain: Mapping[str, str]
    secret: Mapping[str, str]
    prompts: Mapping[str, str]
    wants: tuple[str, ...]
    problems: tuple[CarboyError, ...]


def environment(manifest: Manifest, host: Mapping[str, Secret]) -> Environment:
    """Literals, host values, and what becomes a placeholder. `host` is what the client sent of its environment."""
    plain: dict[str, str] = {}
    secret: dict[str, str] = {}
    prompts: dict[str, str] = {}
    wants: list[str] = []
    problems: list[CarboyError] = []
    for name, value in manifest.bottle.env.items():
        if isinstance(value, EnvSecret):
            secret[name] = value.secret
        elif isinstance(value, EnvPrompt):
            secret[name] = name
            prompts[name] = value.prompt
        else:
            asked = _HOST_VALUE.findall(value)
            wants += asked
            problems += [_unset(name, missing) for missing in asked if missing not in host]
            if all(given in host for given in asked):
                plain[name] = _HOST_VALUE.sub(lambda match: host[match[1]].reveal(), value)
                kind = credential_kind(plain[name]) if asked else None
                if kind is not None:
                    problems.append(_credential(name, kind))
    return Environment(plain, secret, prompts, tuple(dict.fromkeys(wants)), tuple(problems))


def _unset(name: str, missing: str) -> CarboyError:
    return CarboyError(
        f"{name} needs ${{{missing}}}, which is not set here", f"Set {missing} and try again", "env_unset"
    )


def _credential(name: str, kind: str) -> CarboyError:
    return CarboyError(
        f"The value of {name} looks like {kind}, and would be readable in the bottle",
        f"Write `{name}: {{secret: NAME}}` in the bottle file: the real value then stays outside",
        "env_credential",
    )


def join_routes(own: Iterable[Route], manifest: Manifest) -> tuple[tuple[Route, ...], tuple[str, ...], list[str]]:
    """The provider's routes and the manifest's; the provider's win for their host. Returns routes, the provider's
    hosts, and warnings."""
    first = tuple(own)
    hosts = tuple(route.host for route in first)
    rest = [route for route in manifest.bottle.egress.routes if route.host not in hosts]
    hidden = [route.host for route in manifest.bottle.egress.routes if route.host in hosts]
    warnings = [f"The route for {host} is the provider's own; the bottle file's is not used" for host in hidden]
    return (*first, *rest), hosts, warnings


def needed(routes: Iterable[Route], chosen: Iterable[Credential], env: Environment) -> dict[str, str]:
    """Every token name that must have a value, and what uses it."""
    uses: dict[str, str] = {}
    for credential in chosen:
        uses.setdefault(credential.token_ref, f"the agent, for {credential.host}")
    for route in routes:
        if route.auth is not None:
            uses.setdefault(route.auth.token_ref, f"the route {route.host}")
    for name, token_ref in env.secret.items():
        uses.setdefault(token_ref, f"the variable {name}")
    return uses


def secret_problems(
    uses: Mapping[str, str], located: Mapping[str, Located], env: Environment, routes: Iterable[Route]
) -> list[CarboyError]:
    """Secrets that are missing, and those that nothing in the bottle could ever use."""
    owned = {route.auth.token_ref for route in routes if route.auth is not None}
    problems: list[CarboyError] = []
    for name, token_ref in env.secret.items():
        if token_ref not in owned:
            problems.append(
                CarboyError(
                    f"{name} holds the secret {token_ref}, but no route of this bottle uses it",
                    f"Add `auth: {{token_ref: {token_ref}}}` to the route it is for, or remove {name}",
                    "secret_unowned",
                )
            )
    for token_ref, used_by in uses.items():
        if located[token_ref].source == "missing" and token_ref not in env.prompts:
            problems.append(missing_secret((token_ref,), used_by))
    problems += [
        CarboyError(f"{name} must be typed in: {question}", "Answer it at the launch", "secret_prompt")
        for name, question in env.prompts.items()
        if located[name].source == "missing"
    ]
    return problems


def missing_secret(names: tuple[str, ...], used_by: str) -> CarboyError:
    """The error for a secret that is nowhere; `names` are alternatives."""
    said = " or ".join(names)
    return CarboyError(
        f"The secret {said} is missing ({used_by} needs it)",
        f"Set the environment variable {said}, or store it: carboy secret set {names[0]}",
        "secret_missing",
    )


def short_secrets(located: Mapping[str, Located]) -> list[str]:
    """Warnings for secrets that are too short to be found in disguise."""
    return [
        f"The secret {name} is shorter than {SHORT_SECRET} characters: it is recognised only as it is"
        for name, found in located.items()
        if found.value is not None and len(found.value) < SHORT_SECRET
    ]


def posture(settings: Settings, report: BackendReport | None, manifest: Manifest) -> tuple[str, ...]:
    """Truths about this bottle that its row shows."""
    notes = list(report.notes) if report else []
    egress = settings.egress
    if egress.connect_to:
        notes.append(f"settings.yml redirects {', '.join(sorted(egress.connect_to))} (connect_to)")
    if egress.upstream_proxy:
        notes.append("leaves through the proxy of settings.yml")
    if manifest.bottle.egress.vendor_fetch:
        notes.append("its model's vendor may ask any address for it (vendor_fetch)")
    return tuple(notes)
