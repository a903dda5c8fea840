"""docs/manifests.md names every key that a file may have."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from app.core import schema
from sidecar import contract

TEXT = (Path(__file__).parents[2] / "docs" / "manifests.md").read_text()
WORDS = set(re.findall(r"[a-z_][a-z0-9_-]*", " ".join(re.findall(r"`([^`\n]+)`", TEXT))))


@pytest.mark.parametrize(
    "model",
    [
        schema.Bottle, schema.Agent, schema.Settings, schema.SettingsEgress, schema.AgentProvider, schema.Egress,
        schema.GitUser, schema.GitRepo, schema.GitKey, schema.Unattended, schema.Limits, schema.Mask,
        contract.Route, contract.RouteAuth, contract.RouteMatch, contract.RouteDlp, contract.RouteGit,
    ],
    ids=lambda model: model.__name__,
)  # fmt: skip
def test_every_key_is_described(model: type[BaseModel]) -> None:
    keys = {field.alias or name for name, field in model.model_fields.items()}
    assert keys <= WORDS
