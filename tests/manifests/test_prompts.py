"""The prompt library: the starter's tasks, the operator's own before them, a broken one named."""

import pytest

from app.errors import CarboyError, NotFound
from app.manifests.prompts import prompt, prompts
from app.paths import Paths


def own(paths: Paths, name: str, text: str) -> None:
    folder = paths.config / "prompts"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text)


def test_the_librarys_tasks_say_first_what_they_will_do(paths: Paths) -> None:
    found = {one.name: one for one in prompts(paths)}
    assert {"disk-audit", "memory-audit", "health-report", "weekly-summary"} <= set(found)
    for one in found.values():
        assert one.error is None
        assert one.description
        assert "Before you do anything, list" in one.text
    assert prompt(paths, "disk-audit") == found["disk-audit"].text


def test_the_operators_own_come_first(paths: Paths) -> None:
    own(paths, "disk-audit", "---\ndescription: Mine\n---\nLook here.\n")
    own(paths, "plain", "Only a text.\n")
    found = {one.name: one for one in prompts(paths)}
    assert (found["disk-audit"].description, found["disk-audit"].text) == ("Mine", "Look here.")
    assert (found["plain"].description, found["plain"].text) == ("Only a text.", "Only a text.")


@pytest.mark.parametrize("text", ["---\ndescription: x\n", "---\ndescription: x\n---\n", "\0", "x" * 70_000])
def test_a_broken_one_is_named_and_hides_no_other(paths: Paths, text: str) -> None:
    own(paths, "torn", text)
    found = {one.name: one for one in prompts(paths)}
    assert "torn.md" in (found["torn"].error or "")
    assert found["disk-audit"].error is None
    with pytest.raises(CarboyError):
        prompt(paths, "torn")


def test_an_unknown_one_names_the_others(paths: Paths) -> None:
    with pytest.raises(NotFound, match="nothing") as wrong:
        prompt(paths, "nothing")
    assert "disk-audit" in wrong.value.hint
