"""Which LLM API an agent of any vendor is to use: a known vendor's, or one of the operator's own by its base URL.

Read from `agent_provider.settings`: `endpoint` for agents that speak to many (pi, opencode), `gateway` for those that
speak to one (claude, codex). Pure.
"""

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from app.core.schema import Manifest
from app.errors import ConfigError
from app.providers.models import BUILT_IN, anthropic_source, openai_source
from app.providers.vendors import VENDORS, Vendor, anthropic_paths, openai_paths, vendor
from sidecar.contract import host_pattern

KEYS = frozenset({"provider", "base_url", "api", "models", "context_window"})
"""Settings that choose the API. All but `provider` only make sense together with `base_url`."""
APIS = ("openai-completions", "openai-responses", "anthropic-messages")
DEFAULT = "anthropic"
WHERE = "agent_provider.settings"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class Endpoint:
    """One LLM API. `base_url` is empty for a known vendor, whose address the agent knows by itself."""

    vendor: Vendor
    base_url: str = ""
    api: str = APIS[0]
    models: tuple[str, ...] = ()
    context_window: int | None = None


def endpoint(manifest: Manifest) -> Endpoint:
    """The API that the settings describe. Raises ConfigError with the key at fault."""
    given = manifest.bottle.agent_provider.settings.model_extra or {}
    name = _name(manifest, given.get("provider"))
    base_url = given.get("base_url")
    if base_url is None:
        lone = sorted({"api", "models", "context_window"} & given.keys())
        if lone:
            raise ConfigError(f"{lone[0]} needs base_url", "Add base_url, or take it out", key=f"{WHERE}.{lone[0]}")
        return Endpoint(vendor(name, f"{WHERE}.provider"))
    api = given.get("api", APIS[0])
    if api not in APIS:
        raise ConfigError(f"not an API: {api!r}", f"Write one of {', '.join(APIS)}", key=f"{WHERE}.api")
    window = given.get("context_window")
    if window is not None and (not isinstance(window, int) or isinstance(window, bool) or window <= 0):
        raise ConfigError(
            f"not a number of tokens: {window!r}", "Write context_window: 200000", key=f"{WHERE}.context_window"
        )
    address = _address(base_url, api)
    return Endpoint(_own(name, address, api), address, api, _models(given.get("models")), window)


def gateway(manifest: Manifest, vendor_name: str, api: str) -> Endpoint | None:
    """Where an agent that speaks to one vendor alone finds its API at an address of the operator's own; None where the
    vendor's is meant. It has a key of its own: the vendor's real one must not go there unasked."""
    provider = manifest.bottle.agent_provider
    base_url = (provider.settings.model_extra or {}).get("base_url")
    if base_url is None:
        return None
    if not provider.auth_token:
        raise ConfigError(
            "an API of your own needs a key of its own", "Write auth_token: NAME", key="agent_provider.auth_token"
        )
    address = _address(base_url, api)
    return Endpoint(replace(_own(vendor_name, address, api), env=VENDORS[vendor_name].env), address, api)


def _address(base_url: object, api: str) -> str:
    if not isinstance(base_url, str):
        raise _bad(base_url, "text is needed")
    address = base_url.rstrip("/")
    # Anthropic's clients add the version themselves
    return address.removesuffix("/v1") if api == "anthropic-messages" else address


def offered(chosen: Endpoint) -> tuple[str, ...]:
    """Names of models to offer where the API cannot be asked."""
    return chosen.models or BUILT_IN.get(chosen.vendor.name, ())


def _name(manifest: Manifest, given: object) -> str:
    """What `provider` says; else the vendor that a model is written with (`openai/gpt-5.2`); else Anthropic."""
    if given is None:
        prefix, slash, _ = (manifest.bottle.agent_provider.settings.model or "").partition("/")
        return prefix if slash and prefix in VENDORS else DEFAULT
    if not isinstance(given, str) or not _NAME.fullmatch(given):
        raise ConfigError(f"not a vendor's name: {given!r}", "Write a-z, 0-9 and -", key=f"{WHERE}.provider")
    return given


def _models(given: object) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not given or not all(isinstance(one, str) and one for one in given):
        raise ConfigError(
            "an API of your own needs the names of its models", "Write models: [NAME]", key=f"{WHERE}.models"
        )
    return tuple(given)


def _own(name: str, base_url: str, api: str) -> Vendor:
    """A vendor of the operator's own. Nothing but https: a credential never leaves in the clear."""
    try:
        url = urlsplit(base_url)
        host, port = host_pattern(url.hostname or ""), url.port or 443
    except ValueError as error:
        raise _bad(base_url, str(error)) from None
    if url.scheme != "https":
        raise _bad(base_url, "https is needed")
    if url.query or url.fragment or "@" in url.netloc or host.startswith("*."):
        raise _bad(base_url, "only a host, a port and a path are possible")
    env = f"{name.upper().replace('-', '_')}_API_KEY"
    if api == "anthropic-messages":
        models = anthropic_source(host, f"{url.path}/v1", port)
        return Vendor(name, host, env, anthropic_paths(f"{url.path}/v1"), header="x-api-key", port=port, models=models)
    models = openai_source(host, url.path, port)
    return Vendor(name, host, env, openai_paths(url.path), port=port, models=models)


def _bad(base_url: object, why: str) -> ConfigError:
    return ConfigError(
        f"not a base URL: {base_url!r}: {why}", "Write https://llm.example.com/v1", key=f"{WHERE}.base_url"
    )
