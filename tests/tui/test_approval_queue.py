"""Answers by keys against the controller's own queue, at both sizes: what is written in the editor, in $EDITOR, for a
while or into the bottle file is what is in force afterwards."""

import contextlib
import stat
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import TextArea

from app.cli.approvals import show
from app.core.approvals import ProposalView, RoutesEdit
from app.core.routetext import diff, write_routes
from app.paths import Paths
from app.screens.answer import Answer
from app.screens.proposal import ProposalScreen, RoutesEditor, story
from app.widgets.rows import Rows
from sidecar.contract import Route
from tests.controller.desk import asks, sidecar
from tests.tui.card_queue import BOTTLE, QueueClient, desk_with
from tests.tui.scripted import app
from tests.tui.test_approvals import SIZES, armed, on_screen
from tests.tui.waiting import ready, text_of, until

BASE = Route(host="base.example")


def wanted(*paths: str, host: str = "x.example") -> Route:
    return Route.model_validate({"host": host, "matches": [{"paths": [{"value": path}]} for path in paths]})


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


def editor(folder: Path, script: str) -> str:
    """A program that does something to the file that it is given."""
    file = folder / "editor"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


async def test_alike_ones(paths: Paths, size: tuple[int, int]) -> None:
    """Each answer changes the routes, so the next one is another change by then: looked at again, and given."""
    async with desk_with(paths, BASE) as (queue, session):
        for number, path in enumerate(("/a", "/b", "/a/c")):
            await queue.opened(session.id, asks(session, wanted(path), identity=f"p-00000{number}"))
        client = QueueClient(queue, await queue.listed())
        async with app(client).run_test(size=size) as pilot:
            await ready(pilot)
            await armed(pilot)
            await pilot.press("a", "A")
            screen = await on_screen(pilot, Answer)
            assert len(screen.views) == 3
            await pilot.press("enter")
            await until(pilot, lambda: len(pilot.app.screen_stack) == 1, "all answered")
        assert [view.state for view in await queue.listed()] == ["approved"] * 3
        granted = next(route for route in sidecar(session).policy.routes if route.host == "x.example")
        assert [match.paths[0].value for match in granted.matches] == ["/a", "/b", "/a/c"]


async def test_saved_with_its_comments(paths: Paths, size: tuple[int, int]) -> None:
    async with desk_with(paths, BASE) as (queue, session):
        await queue.opened(session.id, asks(session, wanted("/a")))
        client = QueueClient(queue, await queue.listed())
        async with app(client).run_test(size=size) as pilot:
            await ready(pilot)
            await armed(pilot)
            await pilot.press("y")
            await on_screen(pilot, Answer)
            await pilot.press("shift+tab")
            await until(pilot, lambda: "bottles/dev.md" in text_of(pilot), "the file")
            await pilot.press("pagedown")
            await until(pilot, lambda: "+     - host: x.example" in text_of(pilot), "its difference")
            assert (paths.bottles / "dev.md").read_text() == BOTTLE, "nothing is written by looking"
            await pilot.press("enter")
            await until(pilot, lambda: len(pilot.app.screen_stack) == 1, "answered")
        saved = (paths.bottles / "dev.md").read_text()
        assert saved.startswith(BOTTLE.partition("---\nnotes")[0]), "comments stay"
        assert "x.example" in saved
        assert saved.endswith("notes\n")


@pytest.mark.parametrize(
    ("script", "says"),
    ids=["valid", "broken", "fails", "unchanged", "gone", "not_text"],
    argvalues=[
        (
            "printf 'routes:\\n- host: base.example\\n- host: mirror.example\\n' > \"$1\"",
            "mirror.example is a new host",
        ),
        ("printf 'routes: [\\n' > \"$1\"", "Not usable yet"),
        ("exit 3", "ended with code 3"),
        ("true", ""),
        ('rm "$1"', "cannot be read"),
        ("printf '\\377\\376' > \"$1\"", "is not UTF-8"),
    ],
)
async def test_in_the_operators_editor(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], script: str, says: str
) -> None:
    monkeypatch.setenv("VISUAL", editor(tmp_path, script))
    async with desk_with(paths, BASE) as (queue, session):
        await queue.opened(session.id, asks(session, wanted("/a")))
        client = QueueClient(queue, await queue.listed())
        the_app = app(client)
        monkeypatch.setattr(the_app, "suspend", contextlib.nullcontext)
        async with the_app.run_test(size=size, notifications=True) as pilot:
            await ready(pilot)
            await armed(pilot)
            await pilot.press("a", "enter")
            screen = await on_screen(pilot, ProposalScreen)
            await until(pilot, lambda: bool(screen.view.routes), "routes")
            await pilot.press("E")
            if says:
                await until(pilot, lambda: says in text_of(pilot), says)
            else:
                working: Any = lambda: [worker for worker in the_app.workers if worker.group == "edit"]  # noqa: E731
                await until(pilot, lambda: not working(), "the editor has ended")
            if says == "Not usable yet":
                box = await on_screen(pilot, RoutesEditor)
                assert box.query_one(TextArea).text == "routes: [\n", "what was typed is kept"
            elif "new host" in says:
                await pilot.press("enter")
                await until(pilot, lambda: len(pilot.app.screen_stack) == 1, "answered")
                assert (await queue.listed())[0].state == "modified"
            else:
                assert pilot.app.screen is screen
        given = {route.host for route in sidecar(session).policy.routes}
        assert given == ({"base.example", "mirror.example"} if "new host" in says else {"base.example"})


async def test_a_stale_one_is_shown_and_merged_route_by_route(paths: Paths, size: tuple[int, int]) -> None:
    old = Route(host="old.example", matches=wanted("/x").matches)
    async with desk_with(paths, BASE, old) as (queue, session):
        wider = Route(host="old.example", matches=(*old.matches, *wanted("/y").matches))
        await queue.opened(session.id, asks(session, routes=(BASE, wider, wanted("/a"))))
        await queue.edit_routes("dev", RoutesEdit(text=write_routes((BASE,)), by="ann"))
        client = QueueClient(queue, await queue.listed())
        async with app(client).run_test(size=size) as pilot:
            await ready(pilot)
            await armed(pilot)
            await pilot.press("a", "enter")
            await on_screen(pilot, ProposalScreen)
            await until(pilot, lambda: "merged route by route" in text_of(pilot), "stale")
            await pilot.press("G")
            text = text_of(pilot)
            assert "old.example: this route was taken away since; left out" in text
            assert "+ - host: x.example" in text or "+- host: x.example" in text.replace("+ -", "+-")
            await pilot.press("y")
            await on_screen(pilot, Answer)
            await pilot.press("enter")
            await until(pilot, lambda: len(pilot.app.screen_stack) == 1, "answered")
        assert {route.host for route in sidecar(session).policy.routes} == {"base.example", "x.example"}


async def test_nothing_of_what_is_asked_is_out_of_sight(paths: Paths, size: tuple[int, int]) -> None:
    """The end of a long pattern decides what it allows, and the last of many hosts is one as well."""
    pattern = {"type": "regex", "value": f"/docs/({'a|' * 900}b)|/.*end"}
    long = Route.model_validate({"host": "x.example", "matches": [{"paths": [pattern]}]})
    many = [wanted("/a", host=f"h{number}.example") for number in range(120)]
    async with desk_with(paths, BASE) as (queue, session):
        await queue.opened(session.id, asks(session, long, *many, wanted("/a", host="last.example")))
        view = (await queue.listed())[0]
        client = QueueClient(queue, [view])
        async with app(client).run_test(size=size) as pilot:
            await ready(pilot)
            await armed(pilot)
            await pilot.press("y")
            box = await on_screen(pilot, Answer)
            await until(pilot, lambda: len(box.query(Rows)) > 1, "all of it")
            shown = "\n".join(str(block.render()) for block in box.query(Rows))
            assert "b)|/.*end" in shown
            assert "last.example" in shown
            assert "lines more" not in shown
        page = "".join(row.plain for row in story(await queue.view(view.id)))
        assert "b)|/.*end" in page
        assert "last.example" in page


def test_the_command_line_shows_all_of_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where each character takes ten."""
    pattern = {"type": "regex", "value": f"/docs/({'\U000e0fff' * 900}b)|/.*end"}
    route = Route.model_validate({"host": "x.example", "matches": [{"paths": [pattern]}]})
    known = {"id": "p-000001", "slug": "dev", "session_id": "id-dev", "kind": "egress-allow", "created_at": 1.0}
    show(ProposalView.model_validate(known | {"state": "pending", "diff": diff((), (route,))}))
    assert "b)|/.*end" in capsys.readouterr().out
