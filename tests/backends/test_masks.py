"""Masks as data: defaults, and what a manifest changes."""

import pytest
from pydantic import ValidationError

from app.backends import masks
from app.core.schema import Mask
from app.errors import CarboyError


def modes(*own: Mask) -> dict[str, str]:
    return {mask.path: mask.mode for mask in masks.complete(own)}


def test_defaults_cover_what_an_operator_runs() -> None:
    found = modes()
    for path in (".git/hooks", ".git/config", ".claude", ".mcp.json", ".vscode", ".idea", ".envrc", ".carboy"):
        assert found[path] in ("hide", "read-only")


def test_a_manifest_adds_and_replaces() -> None:
    found = modes(Mask(path="./secrets/"), Mask(path=".vscode", mode="allow"), Mask(path="Makefile", mode="read-only"))
    assert found["secrets"] == "hide"
    assert found[".vscode"] == "allow"
    assert found["Makefile"] == "read-only"


def test_allowing_a_folder_allows_what_is_masked_in_it() -> None:
    found = modes(Mask(path=".git", mode="allow"))
    assert found[".git/hooks"] == found[".git/config"] == "allow"


@pytest.mark.parametrize("path", ["/etc", "..", "a/../../b", ".", "./", "a\0b"])
def test_paths_that_leave_the_project_are_refused(path: str) -> None:
    with pytest.raises((CarboyError, ValidationError)):
        masks.complete([Mask(path=path)])
    with pytest.raises(CarboyError):
        masks.complete([Mask.model_construct(path=path, mode="hide")])


def test_described_for_people() -> None:
    lines = masks.describe(masks.complete([Mask(path="x", mode="allow")]))
    assert ".git/config: a private copy" in lines
    assert ".carboy: hidden" in lines
    assert "x: open (by the manifest)" in lines
