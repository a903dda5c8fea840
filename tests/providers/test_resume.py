"""With which arguments each agent goes on with its own conversation."""

from dataclasses import replace

import pytest

from app.providers.base import LAST
from app.providers.registry import provider
from tests.providers.contexts import context, manifest

ID = "01a216b1-565a-78a0-a749-893aeb381507"
NEWEST = {
    "claude": ("--continue",),
    "codex": ("--last",),
    "gemini": ("--resume", "latest"),
    "opencode": ("--continue",),
    "pi": ("--continue",),
}
NAMED = {
    "claude": ("--resume", ID),
    "codex": (ID,),
    "gemini": ("--resume", ID),
    "opencode": ("--session", ID),
    "pi": ("--session", ID),
}


def arguments(name: str, resume: str | None, *, headless: bool) -> tuple[str, ...]:
    made = replace(context(manifest(), headless=headless), resume=resume)
    return provider(name).prepare(made).command.argv


@pytest.mark.parametrize("headless", [True, False], ids=["headless", "interactive"])
@pytest.mark.parametrize("name", list(NEWEST))
def test_resume(name: str, headless: bool) -> None:
    fresh = arguments(name, None, headless=headless)
    for resume, wanted in ((LAST, NEWEST[name]), (ID, NAMED[name])):
        resumed = arguments(name, resume, headless=headless)
        added = ("resume", *wanted) if name == "codex" else wanted
        rest = list(resumed)
        for argument in added:
            rest.remove(argument)
        assert tuple(rest) == fresh
        at = resumed.index(wanted[0])
        assert resumed[at : at + len(wanted)] == wanted
        task = next(index for index, argument in enumerate(resumed) if "Fix" in argument)
        assert at < task, "the task comes last"
    if name == "codex" and headless:
        assert arguments(name, LAST, headless=True)[1:4] == ("exec", "--skip-git-repo-check", "resume")
