"""OpenAI's Responses over a WebSocket, as Codex speaks it."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.meter.usage import Window
from sidecar.meter.websocket import SocketMeter
from tests.sidecar.meter.meter_forms import responses_events
from tests.sidecar.meter.meter_kit import NOW, Truth, parts, tokens

MEGABYTE = 1024 * 1024


def create(truth: Truth, **more: Any) -> str:
    return json.dumps({"type": "response.create", "model": truth.model, "input": [{"content": "hello"}], **more})


def named(event: dict[str, Any], name: str) -> dict[str, Any]:
    return {**event, "response": {**event["response"], "id": name}} if "response" in event else event


def test_hundreds_of_responses_on_twenty_connections_are_exact() -> None:
    rng = random.Random(3)
    meters = [SocketMeter(now=NOW) for _ in range(20)]
    plans: list[list[tuple[str, str, Truth | None]]] = []
    for _ in meters:
        plan: list[tuple[str, str, Truth | None]] = []
        for number in range(12):
            events, truth = responses_events(rng, 3, 60)
            plan.append(("up", create(truth), None))
            for event, _ in events:
                text = json.dumps(named(event, f"resp_{number}"))
                plan.append(("down", text, truth if event is events[-1][0] else None))
        plans.append(plan)
    ended = 0
    while any(plans):
        at = rng.randrange(20)
        if not plans[at]:
            continue
        direction, text, truth = plans[at].pop(0)
        data = text if rng.random() < 0.5 else text.encode()
        usages = meters[at].feed_message("up" if direction == "up" else "down", data)
        if truth is None:
            assert usages == ()
            continue
        assert [parts(usage) for usage in usages] == [truth.parts]
        assert usages[0].model == truth.model
        assert usages[0].complete
        assert not usages[0].estimated
        ended += 1
    assert ended == 240
    assert all(meter.finish() == () for meter in meters)


def test_overlapping_responses_are_told_apart_by_id() -> None:
    rng = random.Random(4)
    meter = SocketMeter(now=NOW)
    (one, first), (other, second) = responses_events(rng, 20, 20), responses_events(rng, 20, 20)
    meter.feed_message("up", create(first))
    meter.feed_message("up", create(second))
    pairs = (
        [(json.dumps(named(e, "a")), first) for e, _ in one],
        [(json.dumps(named(e, "b")), second) for e, _ in other],
    )
    usages = [
        usage for both in zip(*pairs, strict=False) for text, _ in both for usage in meter.feed_message("down", text)
    ]
    rest = pairs[0][len(pairs[1]) :] + pairs[1][len(pairs[0]) :]
    usages += [usage for text, _ in rest for usage in meter.feed_message("down", text)]
    assert sorted(parts(usage) for usage in usages) == sorted([first.parts, second.parts])


def test_a_last_event_that_comes_twice_is_one_usage() -> None:
    meter = SocketMeter(now=NOW)
    events, truth = responses_events(random.Random(1), 3, 60)
    meter.feed_message("up", create(truth))
    for event, _ in events[:-1]:
        assert meter.feed_message("down", json.dumps(event)) == ()
    last = json.dumps(events[-1][0])
    assert len(meter.feed_message("down", last)) == 1
    assert meter.feed_message("down", last) == ()
    # some compatible servers give all their answers the same id
    meter.feed_message("up", create(truth))
    assert len(meter.feed_message("down", last)) == 1
    assert meter.finish() == ()


def test_a_connection_that_breaks_leaves_an_estimate_of_the_whole_conversation() -> None:
    rng = random.Random(5)
    meter = SocketMeter(now=NOW)
    events, before = responses_events(rng, 300, 300)
    meter.feed_message("up", create(before))
    for event, _ in events:
        meter.feed_message("down", json.dumps(event))
    events, truth = responses_events(rng, 600, 600)
    run = tokens(rng, 500, 500)
    text = "".join(token.text for token in run)
    meter.feed_message("up", create(truth, previous_response_id="resp_1", instructions=text))
    made = 0
    for event, count in events[:100]:
        meter.feed_message("down", json.dumps(named(event, "resp_2")))
        made += count
    (usage,) = meter.finish()
    assert usage.estimated
    assert not usage.complete
    assert usage.output == pytest.approx(made, rel=0.12)
    whole = before.input + before.cache_read + before.output
    assert usage.input == pytest.approx(whole + sum(token.count for token in run), rel=0.10)
    assert meter.fault is not None
    assert meter.fault.kind == "network"


def test_asked_and_never_answered_is_recorded() -> None:
    meter = SocketMeter(now=NOW)
    meter.feed_message("up", create(Truth("m"), instructions="words " * 1000))
    (usage,) = meter.finish()
    assert usage.estimated
    assert usage.model == "m"
    assert usage.input > 800


def test_errors_and_windows_and_envelopes() -> None:
    meter = SocketMeter({"X-Codex-Primary-Used-Percent": "5", "x-codex-primary-window-minutes": "300"}, now=NOW)
    assert meter.windows == (Window("5h", 0.05, None, "subscription"),)
    limits = {"type": "codex.rate_limits", "rate_limits": {"primary": {"used_percent": 9, "window_minutes": 300}}}
    events, truth = responses_events(random.Random(6), 5, 5)
    meter.feed_message("up", create(truth))
    envelope = {"chunks": [limits, *(event for event, _ in events)]}
    (usage,) = meter.feed_message("down", json.dumps(envelope))
    assert parts(usage) == truth.parts
    assert meter.windows == (Window("5h", 0.09, None, "subscription"),)
    assert meter.fault is None

    meter.feed_message("up", create(truth))
    error = {"type": "error", "status": 429, "error": {"type": "usage_limit_reached", "resets_in_seconds": 60}}
    (refused,) = meter.feed_message("down", json.dumps(error))
    assert not refused.billable
    assert meter.fault is not None
    assert (meter.fault.kind, meter.fault.retry_after) == ("quota", 60)
    assert meter.finish(complete=True) == ()


def test_a_message_of_megabytes_keeps_its_usage() -> None:
    events, truth = responses_events(random.Random(7), 5, 5)
    meter = SocketMeter(now=NOW)
    meter.feed_message("up", create(truth, input="A" * 3 * MEGABYTE))
    for event, _ in events[:-1]:
        meter.feed_message("down", json.dumps(event))
    last = events[-1][0]
    last["response"]["output"].append({"type": "image_generation_call", "result": "iVBOR/" * MEGABYTE})
    (usage,) = meter.feed_message("down", json.dumps(last))
    assert parts(usage) == truth.parts
    assert usage.flags == ("oversized_event",)
    assert usage.model == truth.model


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["up", "down"]),
            st.text(max_size=30)
            | st.binary(max_size=30)
            | st.builds(
                lambda kind, response: json.dumps({"type": kind, "response": response}),
                st.sampled_from(["response.create", "response.created", "response.completed", "error", "response.x"]),
                st.none() | st.dictionaries(st.sampled_from(["id", "usage", "status", "error"]), st.text(max_size=3)),
            ),
        ),
        max_size=12,
    )
)
def test_any_messages(messages: list[tuple[Any, str | bytes]]) -> None:
    meter = SocketMeter(now=NOW)
    for direction, data in messages:
        meter.feed_message(direction, data)
    meter.finish()
    assert meter.finish() == ()
