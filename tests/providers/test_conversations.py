"""What the agents write down is read in one form; a hostile home shows nothing but what is in it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.providers import reading
from app.providers.conversation import MAX_ASKED, MAX_TEXT, Entry, Reader, Standing, moment
from app.providers.formats import ClaudeFormat, CodexFormat, GeminiFormat, PiFormat
from app.providers.registry import names, provider
from tests.providers.records import PLACES, RECORDS, written

FORMATS = {"claude": ClaudeFormat(), "codex": CodexFormat(), "gemini": GeminiFormat(), "pi": PiFormat()}
STORY = ["user", "assistant", "call", "result", "assistant", "ends"]
CALLS = {"claude": "Bash", "codex": "exec", "gemini": "run_shell_command", "pi": "bash"}
IDS = {
    "claude": "3093b438-0890-4c3d-93ec-4b05eafef370",
    "codex": "01a216b1-565a-78a0-a749-893aeb381507",
    "gemini": "bd055c07-09ae-4ec6-b4d8-38680085b714",
    "pi": "01a216b1-b638-7383-a75d-79c6fd8e749a",
}


def _item(payload: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response_item", "payload": payload}


def reader(home: Path, name: str) -> Reader:
    found = provider(name).conversations(home)
    assert found is not None
    return found


@pytest.mark.parametrize("name", list(RECORDS))
def test_one_session_reads_alike_whoever_wrote_it(tmp_path: Path, name: str) -> None:
    written(tmp_path, name)
    following = reader(tmp_path, name)
    found = [entry for entry in following.read() if entry.kind != "about"]
    kinds = [entry.kind for entry in found]
    if name == "gemini":  # it says what it said before it says that it calls a tool
        assert kinds.pop(2) == "ends"
        del found[2]
    assert kinds == STORY
    assert [found[0].text, found[1].text, found[4].text] == ["write the file please", "I will.", "All done."]
    assert found[2].tool == CALLS[name]
    assert "echo hi" in found[2].text
    assert "hi" in found[3].text
    assert all(1.79e9 < entry.at < 1.80e9 for entry in found)
    standing = following.standing
    assert (standing.doing, standing.turns, standing.tool_calls) == ("waiting", 1, 1)
    assert standing.conversation == IDS[name]
    assert standing.model
    assert following.read() == []


@pytest.mark.parametrize("name", list(RECORDS))
def test_each_moment_has_its_state(name: str) -> None:
    """After each record: idle until somebody speaks, at work until the turn is over."""
    standing, seen = Standing(), list[str]()
    for record in RECORDS[name]:
        for entry in FORMATS[name].entries(record, PLACES[name].rpartition("/")[2]):
            standing = standing.after(entry)
        seen.append(standing.doing)
    assert seen[0] == "idle"
    assert seen[-1] == "waiting"
    calls = next(index for index, record in enumerate(RECORDS[name]) if "echo hi" in json.dumps(record))
    assert seen[calls] == "working"


def test_a_question_to_the_user_is_waiting_and_an_interruption_ends_the_turn() -> None:
    ask = {"type": "assistant", "message": {"content": [{"type": "tool_use", "name": "AskUserQuestion", "input": {}}]}}
    (entry,) = ClaudeFormat().entries(ask, "x.jsonl")
    assert Standing().after(entry).doing == "waiting"
    stopped = {"type": "user", "message": {"content": [{"type": "text", "text": "[Request interrupted by user]"}]}}
    assert [one.kind for one in ClaudeFormat().entries(stopped, "x.jsonl")] == ["ends"]
    aborted = {"type": "event_msg", "payload": {"type": "turn_aborted"}}
    assert [one.kind for one in CodexFormat().entries(aborted, "x.jsonl")] == ["ends"]


BESIDE: dict[str, list[dict[str, Any]]] = {
    "claude": [
        {"type": "assistant", "message": {"content": [{"type": "tool_use", "id": "q", "name": "AskUserQuestion"}]}},
        {"type": "assistant", "message": {"content": [{"type": "tool_use", "id": "b", "name": "Bash"}]}},
        {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "b", "content": "hi"}]}},
        {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "q", "content": "Red"}]}},
    ],
    "codex": [
        _item({"type": "function_call", "name": "request_user_input", "arguments": "{}", "call_id": "q"}),
        _item({"type": "function_call", "name": "exec_command", "arguments": "{}", "call_id": "b"}),
        _item({"type": "function_call_output", "output": "hi", "call_id": "b"}),
        _item({"type": "function_call_output", "output": "Red", "call_id": "q"}),
    ],
    "gemini": [
        {"type": "gemini", "toolCalls": [{"id": "q", "name": "ask_user"}]},
        {"type": "gemini", "toolCalls": [{"id": "q", "name": "ask_user"}, {"id": "b", "name": "run_shell_command"}]},
        {"type": "user", "content": [{"functionResponse": {"id": "b", "response": {"output": "hi"}}}]},
        {"type": "user", "content": [{"functionResponse": {"id": "q", "response": {"output": "Red"}}}]},
    ],
}
"""A question, a tool beside it, the tool's result, and then the answer."""


@pytest.mark.parametrize("name", list(BESIDE))
def test_a_question_waits_whatever_other_tools_do_meanwhile(name: str) -> None:
    standing, seen = Standing(), list[str]()
    for record in BESIDE[name]:
        for entry in FORMATS[name].entries(record, "rollout-x.jsonl"):
            standing = standing.after(entry)
        seen.append(standing.doing)
    assert seen == ["waiting", "waiting", "waiting", "working"]


def test_who_speaks_or_breaks_it_off_has_answered_all() -> None:
    asking = Standing().after(Entry("asks", call="q"))
    assert asking.after(Entry("about")).doing == "waiting"
    assert asking.after(Entry("user")).doing == "working"
    assert asking.after(Entry("ends")).after(Entry("user")).doing == "working"
    for number in range(1000):
        asking = asking.after(Entry("asks", call=str(number)))
    assert len(asking.asked) <= MAX_ASKED


def test_sub_agents_and_the_clis_own_words_are_not_the_users() -> None:
    for extra in ({"isSidechain": True}, {"isMeta": True}):
        record = {"type": "user", "message": {"content": "find it"}, **extra}
        assert list(ClaudeFormat().entries(record, "x.jsonl")) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", list(RECORDS))
@given(data=st.data())
def test_no_value_in_any_place_makes_a_format_raise(name: str, data: st.DataObject) -> None:
    record: dict[str, Any] = json.loads(json.dumps(data.draw(st.sampled_from(RECORDS[name]))))
    place: Any = record
    while True:
        key = data.draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.just(0))
        deeper = place[key]
        if isinstance(deeper, dict | list) and deeper and data.draw(st.booleans()):
            place = deeper
            continue
        place[key] = data.draw(JSON)
        break
    for entry in FORMATS[name].entries(record, "file.jsonl"):
        assert isinstance(entry, Entry)
        assert len(entry.text) <= MAX_TEXT


def test_times() -> None:
    assert moment("2026-11-26T07:10:42.040Z") == pytest.approx(1795677042.04)
    assert moment(1795677042040) == pytest.approx(1795677042.04)
    for nothing in (None, "yesterday", True, [], -5, "9" * 400, 10**400, float("nan"), "0001-01-01T00:00:00Z"):
        assert moment(nothing) == 0.0


def test_all_of_it_can_be_written_down(tmp_path: Path) -> None:
    """JSON may hold half a character, and so may a name: one that went on would break every answer it is in."""
    half, name = "\ud800", b"1_\xff\xfe.jsonl"
    folder = tmp_path / ".pi/agent/sessions/x"
    folder.mkdir(parents=True)
    message = {"role": "toolResult", "toolName": half, "content": [{"text": f"a {half}"}]}
    record = json.dumps({"type": "message", "timestamp": float("nan"), "message": message})
    (folder / os.fsdecode(name)).write_text(f"{record}\n")
    following = reader(tmp_path, "pi")
    (entry,) = following.read()
    for text in (entry.text, entry.tool, entry.conversation, following.standing.conversation):
        assert text.encode() != b""
    assert entry.at == following.standing.at == 0
    assert Entry("call", tool=half, model=half, conversation=half, key=half) == Entry("call", "", 0.0, *"????")


def test_all_but_shell_and_plugins_keep_a_record(tmp_path: Path) -> None:
    assert [name for name in names() if provider(name).conversations(tmp_path) is None] == ["shell"]
    for name in RECORDS:
        following = reader(tmp_path, name)
        assert (following.read(), following.standing) == ([], Standing())


def test_it_goes_on_where_it_stopped_and_waits_for_whole_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "pi")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:30])
    following = reader(tmp_path, "pi")
    assert [entry.kind for entry in following.read()] == ["user"]
    assert following.standing.doing == "working"
    with path.open("ab") as file:
        file.write(lines[4][30:])
    assert [entry.kind for entry in following.read()] == ["assistant", "call"]
    with path.open("ab") as file:
        file.write(b"not json\n[1]\n\xff\xfe\n" + lines[5] + lines[6])
    assert [entry.kind for entry in following.read()] == ["result", "assistant", "ends"]
    assert (following.standing.turns, following.standing.tool_calls) == (1, 1)


def test_another_file_of_the_same_name_begins_anew_and_a_second_one_adds_up(tmp_path: Path) -> None:
    path = written(tmp_path, "pi")
    following = reader(tmp_path, "pi")
    following.read()
    fresh = path.with_name("new")
    fresh.write_bytes(path.read_bytes())
    os.replace(fresh, path)
    assert len(following.read()) == len(STORY)
    assert following.standing.turns == 1
    second = path.with_name("2026-11-27T00-00-00-000Z_second.jsonl")
    second.write_bytes(path.read_bytes())
    os.utime(second, (2e9, 2e9))
    following.read()
    assert (following.standing.turns, following.standing.conversation) == (2, "second")


def test_no_link_is_followed_anywhere(tmp_path: Path) -> None:
    outside, home = tmp_path / "outside", tmp_path / "home"
    for name in RECORDS:
        written(outside, name)
        place = PLACES[name].split("/")
        for depth in range(1, len(place) + 1):
            bottle = home / f"{name}{depth}"
            link = bottle / "/".join(place[:depth])
            link.parent.mkdir(parents=True)
            link.symlink_to(outside / "/".join(place[:depth]))
            assert reader(bottle, name).read() == []
        (home / name).symlink_to(outside)
        assert reader(home / name, name).read() == []


@pytest.mark.timeout(30)
def test_what_is_no_file_neither_hangs_nor_hurts(tmp_path: Path) -> None:
    path = written(tmp_path, "pi")
    os.mkfifo(path.with_name("9_pipe.jsonl"))
    path.with_name("9_folder.jsonl").mkdir()
    path.with_name("9_loop.jsonl").symlink_to(path.with_name("9_loop.jsonl"))
    assert len(reader(tmp_path, "pi").read()) == len(STORY)


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_STEP", 8192)
    monkeypatch.setattr(reading, "MAX_LINE", 4096)
    path = written(tmp_path, "pi")
    whole = path.read_bytes()
    path.write_bytes(b'{"type": "' + b"x" * 50_000 + b'"}\n' + whole)
    following = reader(tmp_path, "pi")
    found = [entry.kind for _ in range(20) for entry in following.read()]
    assert found == STORY
    deep = b"[" * 2000 + b"]" * 2000
    path.write_bytes(whole + deep + b"\n")
    assert [entry.kind for entry in reader(tmp_path, "pi").read()] == STORY


def test_a_flood_of_names_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_NAMES", 50)
    monkeypatch.setattr(reading, "MAX_FILES", 5)
    folder = tmp_path / ".claude/projects"
    for number in range(20):
        for other in range(20):
            inner = folder / f"p{number:02}"
            inner.mkdir(parents=True, exist_ok=True)
            (inner / f"{other}.jsonl").write_text(json.dumps(RECORDS["claude"][1]) + "\n")
    opened: list[str] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda *a, **k: (opened.append(str(a[0])), real(*a, **k))[1])
    assert len(reader(tmp_path, "claude").read()) == 5
    assert len(opened) < 100
