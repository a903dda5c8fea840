"""What a bottle changed, file by file; and the commands on its state."""

from typing import Any

import pytest
from textual.pilot import Pilot

from app.core.changed import Changes, tree
from app.core.model import LaunchRequest, Preflight
from app.errors import CarboyError
from tests.tui.scripted import CHANGES, ScriptedClient, app, preflight
from tests.tui.waiting import ready, text_of, until


async def opened(pilot: Pilot[Any]) -> None:
    await ready(pilot)
    await pilot.press("d")
    await until(pilot, lambda: "README.md" in text_of(pilot), "the tree")


def toasts(pilot: Pilot[Any]) -> list[Any]:
    return list(pilot.app._notifications)


def found_fit(request: LaunchRequest) -> Preflight:
    return preflight(request, problems=(), secrets=())


def test_a_tree_has_each_folder_once() -> None:
    rows = tree(CHANGES.changes)
    assert [(row.depth, row.path) for row in rows if row.change is None] == [(0, "src"), (1, "src/net"), (0, "tests")]
    assert [row.path for row in rows if row.change] == [
        "README.md", "src/net/[bold]backoff\x1b.py", "src/old.py", "src/retry.py", "tests/data", "tests/test_retry.py",
    ]  # fmt: skip


async def test_each_file_is_shown_and_one_is_pulled() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(100, 30)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "+++ b/README.md" in text_of(pilot), "its difference")
        assert "[bold]backoff␛.py" in text_of(pilot)
        await pilot.press("p")
        await until(pilot, lambda: "Pull README.md into the project?" in text_of(pilot), "the question")
        assert client.calls == []
        await pilot.press("y")
        await until(pilot, lambda: "masked in the bottle" in text_of(pilot), "what was left")
        assert client.calls == [("pull", "impl-1", ("README.md",), True)]
        await pilot.press("P", "escape", "down", "p", "y")  # all of it: no; a folder: yes
        await until(pilot, lambda: len(client.calls) == 2, "the second")
        assert client.calls[1] == ("pull", "impl-1", ("src",), True)


async def test_in_the_project_itself_a_file_is_put_back_and_never_all() -> None:
    client = ScriptedClient()
    client.changes_now = Changes(workspace="mount", changes=CHANGES.changes, left_out=("target",))
    async with app(client).run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        assert "not compared: target" in text_of(pilot)
        await pilot.press("P", "p")
        await until(pilot, lambda: "Put README.md back" in text_of(pilot), "the question")
        await pilot.press("y")
        await until(pilot, lambda: client.calls == [("put_back", "impl-1", ("README.md",))], "the call")


async def test_what_cannot_be_compared_is_said() -> None:
    client = ScriptedClient()
    client.fail["changes"] = CarboyError("impl-1 has no restore point", "git diff", "workspace")
    async with app(client).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("d")
        await until(pilot, lambda: "no restore point" in text_of(pilot), "the reason")


async def test_a_long_name_has_one_line_in_the_tree() -> None:
    client = ScriptedClient()
    names = [f"a-folder-with-a-name/{'long-name-' * 8}{number}.py" for number in range(3)]
    changes = tuple(CHANGES.changes[0].model_copy(update={"path": name}) for name in names)
    client.changes_now = Changes(workspace="mount", changes=changes)
    async with app(client).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("d")
        await until(pilot, lambda: "long-name" in text_of(pilot), "the tree")
        left = [line[:31].strip(" ▌") for line in text_of(pilot).splitlines()]
        at = left.index("▾ a-folder-with-a-name/")
        assert all(line.startswith("M long-name") and line.endswith("…") for line in left[at + 1 : at + 4]), left


@pytest.mark.parametrize(("key", "verb"), [("c", "commit"), ("X", "archive")])
async def test_state_of_a_bottle_by_key(key: str, verb: str) -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press(key)
        if verb == "archive":
            await until(pilot, lambda: "into the archive?" in text_of(pilot), "the question")
            await pilot.press("y")
        await until(pilot, lambda: (verb, "impl-1") in client.calls, verb)


async def test_a_fork_goes_through_the_preflight() -> None:
    client = ScriptedClient()
    client.preflight_answer = found_fit
    async with app(client).run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("v")
        await until(pilot, lambda: "Resolved manifest" in text_of(pilot), "the preflight")
        await pilot.press("enter")
        await until(pilot, lambda: any(request.fork == "impl-1" for request in client.requests), "the launch")


async def test_only_one_that_is_over_is_resumed() -> None:
    client = ScriptedClient()
    client.preflight_answer = found_fit
    async with app(client).run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("p")
        await until(pilot, lambda: any("needs no resuming" in item.message for item in toasts(pilot)), "the refusal")
        main = pilot.app.main_screen()  # type: ignore[attr-defined]
        main.select("nightly")
        await pilot.press("p")
        await until(pilot, lambda: "Resolved manifest" in text_of(pilot), "the preflight")
        await pilot.press("enter")
        await until(pilot, lambda: any(request.resume == "nightly" for request in client.requests), "the launch")


@pytest.mark.parametrize(("mode", "said"), [("read-only", "there is nothing to pull"), ("none", "has no project")])
async def test_modes_in_which_nothing_can_change_say_so(mode: Any, said: str) -> None:
    client = ScriptedClient()
    client.changes_now = Changes(workspace=mode)
    async with app(client).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("d")
        await until(pilot, lambda: said in " ".join(text_of(pilot).split()), "the reason")
        await pilot.press("p", "P")
        assert client.calls == []


async def test_save_and_stop_asks_first() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("Z")
        await until(pilot, lambda: "Save and stop" in text_of(pilot), "the question")
        await pilot.press("escape", "Z", "y")
        await until(pilot, lambda: client.calls == [("put_by", "impl-1")], "the call")


async def test_one_that_is_over_is_removed_for_good_and_one_that_runs_is_not() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("delete")
        await until(pilot, lambda: any("stop it first" in item.message for item in toasts(pilot)), "the refusal")
        pilot.app.main_screen().select("nightly")  # type: ignore[attr-defined]
        await pilot.press("delete")
        await until(pilot, lambda: "for good?" in text_of(pilot), "the question")
        await pilot.press("y")
        await until(pilot, lambda: client.calls == [("purge", "nightly")], "the call")


async def test_the_archive_brings_one_back_and_removes_one() -> None:
    client = ScriptedClient()
    async with app(client).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("A")
        await until(pilot, lambda: "spike" in text_of(pilot), "the list")
        assert "impl-1" not in text_of(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: client.calls == [("restore", "docs-7")], "the call")
        await until(pilot, lambda: "no snapshot" in text_of(pilot) and "snapshot 2h" not in text_of(pilot), "the list")
        await pilot.press("d", "escape", "d", "y")
        await until(pilot, lambda: client.calls == [("restore", "docs-7"), ("purge", "spike")], "the call")
        await until(pilot, lambda: "The archive is empty" in text_of(pilot), "the empty list")
