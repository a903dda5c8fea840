"""The starter bottle of each agent is one that its provider understands."""

from pathlib import Path

import pytest
import yaml

from app.core.schema import Bottle, Manifest
from app.providers.registry import provider

BOTTLES = Path(__file__).parents[2] / "manifests/bottles"


@pytest.mark.parametrize("name", ["claude", "codex", "gemini", "opencode", "pi"])
def test_a_starter_bottle_names_its_provider_and_key(name: str) -> None:
    head = yaml.safe_load((BOTTLES / f"{name}.md").read_text().split("---\n")[1])
    made = Manifest(bottle=Bottle.model_validate({"agent_provider": head["agent_provider"]}))
    assert made.bottle.agent_provider.template == name
    found = provider(name)
    hosts = {route.host for route in found.routes(made)}
    assert {credential.host for credential in found.credentials(made)} <= hosts
