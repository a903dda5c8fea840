"""The starter bottle of each agent is one that its provider understands."""

import pytest

from app import manifests
from app.core.schema import Settings
from app.paths import Paths
from app.providers.registry import provider


@pytest.mark.parametrize("name", ["claude", "codex", "gemini", "opencode", "pi"])
def test_a_starter_bottle_names_its_provider_and_key(paths: Paths, name: str) -> None:
    manifests.init(paths)
    made = manifests.resolve(paths, agent=None, bottles=[name], cwd=None, settings=Settings())
    assert made.bottle.agent_provider.template == name
    found = provider(name)
    hosts = {route.host for route in found.routes(made)}
    assert {credential.host for credential in found.credentials(made)} <= hosts
