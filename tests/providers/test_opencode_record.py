"""OpenCode's database is read as what it is: a file that a hostile process wrote."""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from app.providers import opencode_record
from app.providers.conversation import Standing
from app.providers.opencode_record import FILE, OpenCodeReader

TABLES = """
create table session (id text primary key, parent_id text);
create table message (id text primary key, session_id text, time_created integer, time_updated integer, data text);
create table part (id text primary key, message_id text, session_id text, time_created integer,
  time_updated integer, data text);
"""
MODEL = {"modelID": "claude-sonnet-4-6"}


def row(base: sqlite3.Connection, table: str, name: str, owner: str, at: int, data: dict[str, Any]) -> None:
    text = json.dumps(data)
    if table == "message":
        base.execute("insert or replace into message values (?, ?, ?, ?, ?)", (name, owner, at, at, text))
    else:
        base.execute("insert or replace into part values (?, ?, 'ses_1', ?, ?, ?)", (name, owner, at, at, text))
    base.commit()


@pytest.fixture
def base(tmp_path: Path):
    """The database of a home, open in another place as OpenCode has it: what is new lies in its log."""
    path = tmp_path / FILE
    path.parent.mkdir(parents=True)
    made = sqlite3.connect(path)
    made.execute("pragma journal_mode=wal")
    made.executescript(TABLES)
    made.execute("insert into session values ('ses_1', null)")
    made.execute("insert into session values ('ses_2', 'ses_1')")
    row(made, "message", "msg_1", "ses_1", 1000, {"role": "user", "time": {"created": 1000}})
    row(made, "part", "prt_1", "msg_1", 1000, {"type": "text", "text": "write the file please"})
    yield made
    made.close()


def test_a_session_as_it_goes_on(tmp_path: Path, base: sqlite3.Connection) -> None:
    reader = OpenCodeReader(tmp_path)
    assert [(one.kind, one.text) for one in reader.read()] == [("user", "write the file please")]
    assert (reader.standing.doing, reader.standing.conversation) == ("working", "ses_1")
    answer = {"role": "assistant", "time": {"created": 2000}, **MODEL}
    row(base, "message", "msg_2", "ses_1", 2000, answer)
    row(base, "part", "prt_2", "msg_2", 2001, {"type": "text", "text": "I w", "time": {"start": 2001}})
    assert reader.read() == []
    row(base, "part", "prt_2", "msg_2", 2002, {"type": "text", "text": "I will.", "time": {"start": 1, "end": 2}})
    call = {"type": "tool", "tool": "bash", "state": {"status": "running", "input": {"command": "echo hi"}}}
    row(base, "part", "prt_3", "msg_2", 2003, call)
    assert [(one.kind, one.text, one.tool) for one in reader.read()] == [
        ("assistant", "I will.", ""),
        ("call", "echo hi", "bash"),
    ]
    done = {**call, "state": {"status": "completed", "input": {"command": "echo hi"}, "output": "hi\n"}}
    row(base, "part", "prt_3", "msg_2", 2004, done)
    row(base, "message", "msg_2", "ses_1", 2005, {**answer, "time": {"completed": 2005}, "finish": "tool-calls"})
    assert [(one.kind, one.text) for one in reader.read()] == [("result", "hi\n")]
    assert reader.standing.doing == "working"
    last = {"role": "assistant", "time": {"created": 3000, "completed": 3001}, "finish": "stop", **MODEL}
    row(base, "message", "msg_3", "ses_1", 3000, last)
    row(base, "part", "prt_4", "msg_3", 3000, {"type": "text", "text": "All done.", "time": {"start": 1, "end": 2}})
    assert [one.kind for one in reader.read()] == ["assistant", "ends"]
    assert reader.standing == Standing("waiting", 1, 1, "claude-sonnet-4-6", "ses_1", 3.001)
    assert reader.read() == []


@pytest.mark.parametrize("tool", ["question", "plan_exit"])
def test_a_question_to_the_user_waits_until_it_is_answered(tmp_path: Path, base: sqlite3.Connection, tool: str) -> None:
    reader = OpenCodeReader(tmp_path)
    row(base, "message", "msg_2", "ses_1", 2000, {"role": "assistant", "time": {"created": 2000}, **MODEL})
    call: dict[str, Any] = {"type": "tool", "tool": tool, "state": {"status": "pending", "input": {}}}
    row(base, "part", "prt_2", "msg_2", 2001, call)
    reader.read()
    assert reader.standing.doing == "working", "it is still being written"
    given = {"questions": [{"question": "Which one?", "header": "One", "options": []}]}
    row(base, "part", "prt_2", "msg_2", 2002, {**call, "state": {"status": "running", "input": given}})
    assert [one.kind for one in reader.read()] == ["asks"]
    assert reader.standing.doing == "waiting"
    row(base, "part", "prt_2", "msg_2", 2003, {**call, "state": {"status": "completed", "input": given, "output": "A"}})
    assert [one.kind for one in reader.read()] == ["result"]
    assert reader.standing.doing == "working"


def test_a_question_waits_whatever_other_tools_do_meanwhile(tmp_path: Path, base: sqlite3.Connection) -> None:
    reader = OpenCodeReader(tmp_path)
    row(base, "message", "msg_2", "ses_1", 2000, {"role": "assistant", "time": {"created": 2000}, **MODEL})
    for at, (part, tool, status, doing) in enumerate(
        (
            ("prt_2", "question", "running", "waiting"),
            ("prt_3", "bash", "running", "waiting"),
            ("prt_3", "bash", "completed", "waiting"),
            ("prt_2", "question", "completed", "working"),
        ),
        2001,
    ):
        state = {"status": status, "input": {}}
        row(base, "part", part, "msg_2", at, {"type": "tool", "tool": tool, "state": state})
        reader.read()
        assert reader.standing.doing == doing, (part, status)


def test_sub_agents_are_not_the_conversation(tmp_path: Path, base: sqlite3.Connection) -> None:
    row(base, "message", "msg_5", "ses_2", 4000, {"role": "user", "time": {"created": 4000}})
    row(base, "part", "prt_5", "msg_5", 4000, {"type": "text", "text": "find it"})
    assert [one.text for one in OpenCodeReader(tmp_path).read()] == ["write the file please"]


def test_nothing_is_written_into_the_home(tmp_path: Path, base: sqlite3.Connection) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".db-shm"}
    OpenCodeReader(tmp_path).read()
    assert before.items() <= {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}.items()


def test_links_pipes_and_rubbish_show_nothing(tmp_path: Path, base: sqlite3.Connection) -> None:
    real = tmp_path / FILE
    for number, make in enumerate(
        (
            lambda path: path.symlink_to(real),
            os.mkfifo,
            lambda path: path.write_bytes(b"SQLite format 3\0" + os.urandom(9000)),
            lambda path: path.write_bytes(b""),
            lambda path: path.mkdir(),
        )
    ):
        home = tmp_path / f"home{number}"
        (home / FILE).parent.mkdir(parents=True)
        make(home / FILE)
        assert OpenCodeReader(home).read() == []
    home = tmp_path / "linked"
    home.mkdir()
    (home / ".local").symlink_to(tmp_path / ".local")
    assert OpenCodeReader(home).read() == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "schema",
    [
        "create view part as select 1 id, 1 message_id, 1 time_updated, 'x' data",
        "create view part as with recursive n(i) as (select 1 union all select i+1 from n) select i id, 1 message_id,"
        " 1 time_updated, 'x' data from n",
        "create table part (id text, message_id text, time_updated integer,"
        " data text generated always as (printf('%9999999s', 'x')) virtual)",
        "create virtual table part using fts5(id, message_id, time_updated, data)",
    ],
    ids=["a view", "an endless view", "a function in a column", "another module"],
)
def test_a_schema_that_runs_something_shows_nothing(tmp_path: Path, schema: str) -> None:
    path = tmp_path / FILE
    path.parent.mkdir(parents=True)
    made = sqlite3.connect(path)
    made.executescript(TABLES.split("create table part")[0])
    made.execute("insert into session values ('ses_1', null)")
    made.execute("insert into message values ('m', 'ses_1', 1, 1, '{\"role\": \"user\"}')")
    made.execute(schema)
    made.commit()
    made.close()
    assert [one for one in OpenCodeReader(tmp_path).read() if one.text] == []


def test_its_work_has_an_end(tmp_path: Path, base: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    base.executemany(
        "insert into part values (?, 'msg_1', 'ses_1', 1, 1, '{}')", [(f"x{number}",) for number in range(20_000)]
    )
    base.commit()
    monkeypatch.setattr(opencode_record, "MAX_STEPS", 20_000)
    assert OpenCodeReader(tmp_path).read() == []


def test_a_large_one_is_not_read(tmp_path: Path, base: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencode_record, "MAX_BYTES", 1000)
    assert OpenCodeReader(tmp_path).read() == []
