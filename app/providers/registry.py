"""Which providers there are, by name. Imports one only when it is asked for; never runs anything.

Built-in ones are known as data, so that a checkout works without an installed distribution; others come by the
entry point group `carboy.providers`. A plugin cannot take a built-in's name: that would let any installed package
stand between the operator and an agent.
"""

from functools import cache
from importlib import import_module, metadata

from app.errors import NotFound
from app.providers.base import Provider

GROUP = "carboy.providers"
BUILT_IN = {
    "claude": "app.providers.claude:ClaudeProvider",
    "codex": "app.providers.codex:CodexProvider",
    "gemini": "app.providers.gemini:GeminiProvider",
    "opencode": "app.providers.opencode:OpenCodeProvider",
    "pi": "app.providers.pi:PiProvider",
    "shell": "app.providers.shell:ShellProvider",
}


def names() -> tuple[str, ...]:
    """All provider names, the built-in ones first."""
    return (*BUILT_IN, *sorted(_plugins()))


def provider(name: str) -> Provider:
    """The provider of that name. Raises NotFound, listing the known ones."""
    target = BUILT_IN.get(name) or _plugins().get(name)
    if target is None:
        known = ", ".join(names())
        raise NotFound(
            f"no provider is called {name!r}",
            f"Known: {known}. Another one is a package with an entry point in {GROUP}",
            "provider_unknown",
        )
    return _load(name, target)


@cache
def _plugins() -> dict[str, str]:
    return {entry.name: entry.value for entry in metadata.entry_points(group=GROUP) if entry.name not in BUILT_IN}


@cache
def _load(name: str, target: str) -> Provider:
    module, _, attribute = target.partition(":")
    try:
        made = getattr(import_module(module), attribute)()
    except (
        Exception
    ) as error:  # a plugin is somebody else's code: whatever it raises, it is named and nothing else fails
        raise NotFound(
            f"the provider {name!r} cannot be loaded from {target}: {error}",
            "Update or remove the package that provides it",
            "provider_broken",
        ) from error
    if not isinstance(made, Provider):
        raise NotFound(
            f"{target} is not a provider", "Update or remove the package that provides it", "provider_broken"
        )
    return made
