"""The LLM vendors that agents of any vendor talk to: host, key, header, and the requests a model call consists of.

Data and pure functions. A path that is not here stays closed: telemetry and file stores of a vendor often share the
host with its models. Paths are from the vendors' public API references, the headers from requests seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from app.errors import ConfigError
from app.providers.base import Credential, ModelSource
from app.providers.models import anthropic_source, google_source, openai_source
from sidecar.contract import PathMatch, Route, RouteDlp, RouteMatch

GEMINI = (
    RouteMatch(
        paths=(
            PathMatch(
                type="regex",
                value=r"/v1(beta|alpha)?/models/[A-Za-z0-9._-]+:(generateContent|streamGenerateContent|countTokens|embedContent)",
            ),
        ),
        methods=("POST",),
    ),
    RouteMatch(paths=(PathMatch(value="/v1beta/models"),), methods=("GET",)),
)


def anthropic_paths(base: str) -> tuple[RouteMatch, ...]:
    """Messages, their counting, and the list of models below `base`."""
    posts = ("/messages", "/messages/count_tokens")
    return (
        RouteMatch(
            paths=tuple(PathMatch(type="exact", value=f"{base}{path}") for path in posts),
            methods=("POST",),
        ),
        RouteMatch(paths=(PathMatch(value=f"{base}/models"),), methods=("GET",)),
    )


def openai_paths(base: str) -> tuple[RouteMatch, ...]:
    """Responses (over HTTP, and by GET as a WebSocket), Chat Completions and the list of models below `base`."""
    posts = ("/responses", "/responses/compact", "/chat/completions")
    return (
        RouteMatch(
            paths=tuple(PathMatch(type="exact", value=f"{base}{path}") for path in posts),
            methods=("POST",),
        ),
        RouteMatch(
            paths=(PathMatch(type="exact", value=f"{base}/responses"), PathMatch(value=f"{base}/models")),
            methods=("GET",),
        ),
    )


@dataclass(frozen=True)
class Vendor:
    """One LLM API. `shape` is the prefix its keys begin with."""

    name: str
    host: str
    env: str
    matches: tuple[RouteMatch, ...]
    header: str = "authorization"
    shape: str = ""
    port: int = 443
    models: ModelSource | None = None

    def credential(self, token_ref: str | None = None) -> Credential:
        scheme = "Bearer" if self.header == "authorization" else "header"
        return Credential(token_ref or self.env, self.env, self.host, self.header, scheme, self.shape)

    @property
    def route(self) -> Route:
        return Route(host=self.host, ports=(self.port,), matches=self.matches, dlp=RouteDlp(outbound_on_match="redact"))


def _compatible(name: str, host: str, base: str, shape: str = "") -> Vendor:
    source = openai_source(host, base)
    return Vendor(name, host, f"{name.upper()}_API_KEY", openai_paths(base), shape=shape, models=source)


VENDORS: Mapping[str, Vendor] = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            "anthropic",
            "api.anthropic.com",
            "ANTHROPIC_API_KEY",
            anthropic_paths("/v1"),
            header="x-api-key",
            shape="sk-ant-api03-",
            models=anthropic_source("api.anthropic.com", "/v1"),
        ),
        Vendor(
            "openai",
            "api.openai.com",
            "OPENAI_API_KEY",
            openai_paths("/v1"),
            shape="sk-proj-",
            models=openai_source("api.openai.com", "/v1"),
        ),
        Vendor(
            "google",
            "generativelanguage.googleapis.com",
            "GEMINI_API_KEY",
            GEMINI,
            header="x-goog-api-key",
            shape="AIza",
            models=google_source("generativelanguage.googleapis.com"),
        ),
        _compatible("openrouter", "openrouter.ai", "/api/v1", "sk-or-v1-"),
        _compatible("groq", "api.groq.com", "/openai/v1", "gsk_"),
        _compatible("deepseek", "api.deepseek.com", ""),
        _compatible("mistral", "api.mistral.ai", "/v1"),
        _compatible("xai", "api.x.ai", "/v1", "xai-"),
        _compatible("cerebras", "api.cerebras.ai", "/v1", "csk-"),
    )
}


def vendor(name: str, key: str) -> Vendor:
    """The known vendor of that name; `key` is the setting that named it."""
    if name not in VENDORS:
        raise ConfigError(
            f"no LLM vendor {name!r} is known",
            f"Known: {', '.join(VENDORS)}. Another one with an OpenAI-compatible API needs base_url",
            key=key,
        )
    return VENDORS[name]
