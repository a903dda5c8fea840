"""What a bottle file may say of an API of its own for Pi, beyond what other agents take: how it signs in, and what its
models understand. Pure."""

from collections.abc import Mapping
from typing import Any

from app.core.credentials import credential_kind
from app.core.schema import Manifest
from app.errors import ConfigError
from app.providers.endpoint import WHERE

COMPAT = {
    "max_tokens_field": "maxTokensField",
    "supports_developer_role": "supportsDeveloperRole",
    "supports_reasoning_effort": "supportsReasoningEffort",
}
"""Keys of a bottle file, and what Pi calls them."""
FIELDS = ("max_tokens", "max_completion_tokens")
KEYS = frozenset({"api_key", "api_key_env", "max_tokens", *COMPAT})


def check(manifest: Manifest) -> None:
    """Raises ConfigError with the key at fault."""
    given = _given(manifest)
    alone = sorted((KEYS - {"api_key_env"}) & given.keys())
    if alone and "base_url" not in given:
        raise _wrong(alone[0], "needs base_url", "Add base_url, or take it out")
    if "api_key_env" in given and manifest.bottle.agent_provider.auth_token:
        raise _wrong("api_key_env", "and auth_token are two names of one secret", "Keep auth_token")
    if "api_key_env" in given and not (isinstance(given["api_key_env"], str) and given["api_key_env"]):
        raise _wrong("api_key_env", "is a secret's name", "Write api_key_env: LLM_KEY")
    most = given.get("max_tokens", 1)
    if not isinstance(most, int) or isinstance(most, bool) or most <= 0:
        raise _wrong("max_tokens", "is a number of tokens", "Write max_tokens: 16384")
    if given.get("max_tokens_field", FIELDS[0]) not in FIELDS:
        raise _wrong("max_tokens_field", "names a field of a request", f"Write {' or '.join(FIELDS)}")
    for key in ("supports_developer_role", "supports_reasoning_effort"):
        if not isinstance(given.get(key, True), bool):
            raise _wrong(key, "is true or false", f"Write {key}: false")
    if "api_key" in given:
        _check_key(given["api_key"])
        if secret_name(manifest):
            raise _wrong("api_key", "stands beside a secret's name", "Keep one of them")


def _check_key(key: object) -> None:
    """A word that an API without keys ignores may stand in a file, a credential may not."""
    if not isinstance(key, str) or credential_kind(key) or len(key) > 32:
        raise _wrong(
            "api_key",
            "would be a credential in a file",
            "`carboy secret set LLM_KEY`, and write auth_token: LLM_KEY; for an API without keys api_key: none",
        )


def keyless(manifest: Manifest) -> str:
    """The word that stands for a key where the API wants none; empty where it wants one."""
    return str(_given(manifest).get("api_key") or "")


def secret_name(manifest: Manifest) -> str | None:
    return manifest.bottle.agent_provider.auth_token or _given(manifest).get("api_key_env")


def described(manifest: Manifest) -> Mapping[str, Any]:
    """What of it belongs to each model in Pi's own words."""
    given = _given(manifest)
    compat = {theirs: given[ours] for ours, theirs in COMPAT.items() if ours in given}
    most = {"maxTokens": given["max_tokens"]} if "max_tokens" in given else {}
    return {**most, **({"compat": compat} if compat else {})}


def _given(manifest: Manifest) -> Mapping[str, Any]:
    return manifest.bottle.agent_provider.settings.model_extra or {}


def _wrong(key: str, why: str, hint: str) -> ConfigError:
    return ConfigError(f"{key} {why}", hint, key=f"{WHERE}.{key}")
