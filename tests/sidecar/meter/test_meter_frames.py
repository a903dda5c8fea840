"""How bytes become events: lines of every kind, arrays, marks, and JSON that was cut."""

import json

import pytest

from sidecar.meter.frames import Event, Frames
from sidecar.meter.loads import Unreadable
from sidecar.meter.mend import mend


def events(*pieces: bytes) -> list[Event]:
    frames = Frames()
    return [event for piece in pieces for event in frames.feed(piece)] + frames.finish()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_event_streams_with_every_line_end_at_every_split(end: str) -> None:
    lines = [
        ": comment", "event: a", 'data: {"number":', "data: 1,", "data:", 'data:"text": "x"}', "id: 7", "",
        "", "retry: 5", "", "dat", "data", 'data:{"last": "é中"}', "", "data: [DONE]", "",
    ]  # fmt: skip
    body = b"\xef\xbb\xbf" + "".join(line + end for line in lines).encode()
    expected = [Event({"number": 1, "text": "x"}), Event({"last": "é中"}), Event({}, done=True)]
    assert events(body) == expected
    assert events(*[bytes([byte]) for byte in body]) == expected
    for at in range(len(body)):
        assert events(body[:at], body[at:]) == expected, at


def test_arrays_lines_and_one_value_are_told_by_the_first_byte() -> None:
    one, two = {"a": 'x"]}\\', "b": [1, [2]]}, {"c": {"d": "long enough"}}
    expected = [Event(one), Event(two)]
    for body in (
        json.dumps([one, two], indent=1),
        json.dumps(one) + "\n" + json.dumps(two),
        f" {json.dumps(one)}{json.dumps(two)}\n",
    ):
        raw = body.encode()
        assert events(raw) == expected
        for at in range(len(raw)):
            assert events(raw[:at], raw[at:]) == expected


def test_what_is_no_json_is_said_to_be_bad() -> None:
    assert [event.bad for event in events(b"data: {never mind this}\n\n")] == [True]
    assert events(b"data: {half an event}") == [Event({}, cut=True)]
    assert events(b'data: {"emoji": "\\ud83d"}\n\n')[0].body == {"emoji": "\ud83d"}  # a server that cuts UTF-16
    assert not events(b'data: {"logprob": NaN}\n\n')[0].bad


@pytest.mark.parametrize(
    ("cut", "value"),
    [
        (b'{"a": "hello wor', {"a": "hello wor"}),
        (b'{"a": "x\\', {"a": "x"}),
        (b'{"a": "x\\u00', {"a": "x"}),
        (b'{"a": "caf\xc3', {"a": "caf"}),
        (b'{"a": 1, "b": 23', {"a": 1}),
        (b'{"a": 1, "b', {"a": 1}),
        (b'{"a": 1, "b":', {"a": 1}),
        (b'{"a": [1, {"b": [2, 3', {"a": [1, {"b": [2]}]}),
        (b'{"a": {"b": "c"}', {"a": {"b": "c"}}),
        (b'{"a": tru', {}),
        (b'{"a', {}),
        (b"{", {}),
    ],
)
def test_mending_keeps_what_is_whole_and_no_half_number(cut: bytes, value: object) -> None:
    assert mend(cut) == value


def test_mending_any_cut_of_a_document() -> None:
    document = {"text": 'é \\ " \n', "list": [1, -2.5, None, True, {"k": []}], "deep": {"a": {"b": "c"}}, "n": 12345}
    raw = json.dumps(document).encode()
    for at in range(1, len(raw)):
        found = mend(raw[:at])
        assert isinstance(found, dict), raw[:at]
        assert found.get("n") in (None, 12345)
    assert mend(b"") is Unreadable
