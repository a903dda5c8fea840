"""The board: replays change nothing, memory is bounded, what needs the operator comes first."""

from app.core.board import REFUSALS, Board, order
from app.core.bottles import LIVE, mark, sidecars
from app.core.model import LIVE as MODEL_LIVE
from app.core.model import BottleView, SidecarHealth, StreamEvent


def bottle(slug: str, **changes: object) -> BottleView:
    base: dict[str, object] = {
        "slug": slug,
        "session_id": slug,
        "label": slug,
        "agent": None,
        "bottles": (),
        "provider": "shell",
        "backend": "local",
        "isolation": "process",
        "state": "running",
        "cwd": "/",
        "created_at": 0.0,
    }
    return BottleView.model_validate(base | changes)


def refusal(seq: int, host: str) -> StreamEvent:
    data = {"decision": "deny", "host": host, "code": "host_not_allowed", "bytes_up": 3}
    return StreamEvent(seq=seq, at=float(seq), kind="egress", slug="b", data=data)


def test_live_states_are_the_models() -> None:
    assert set(LIVE) == MODEL_LIVE


def test_a_replay_counts_once() -> None:
    board = Board()
    for event in [refusal(1, "a"), refusal(2, "a"), refusal(1, "a"), refusal(2, "a")]:
        board.record(event)
    tally = board.tally("b")
    assert (tally.requests, tally.refused, tally.bytes_up) == (2, 2, 6)
    assert tally.refusals[("a", "host_not_allowed")].times == 2
    assert [item.seq for item in board.entries("b")] == [1, 2]


def test_an_open_request_is_counted_when_it_ends() -> None:
    board = Board()
    board.record(StreamEvent(seq=1, at=0, kind="egress", slug="b", data={"decision": "allow", "phase": "open"}))
    assert board.tally("b").requests == 0
    board.record(StreamEvent(seq=2, at=0, kind="egress", slug="b", data={"decision": "allow", "phase": "closed"}))
    assert board.tally("b").allowed == 1


def test_a_dictionary_of_hosts_does_not_fill_memory() -> None:
    board = Board()
    for seq in range(1, REFUSALS * 3):
        board.record(refusal(seq, f"h{seq}"))
    assert len(board.tally("b").refusals) == REFUSALS


def test_order_is_by_attention_then_age() -> None:
    views = [bottle("old", created_at=1.0), bottle("new", created_at=2.0), bottle("asks", attention=95)]
    assert [view.slug for view in order(views)] == ["asks", "new", "old"]


def test_every_state_differs_without_colour() -> None:
    states = ("launching", "running", "frozen", "stopping", "ended", "failed", "lost")
    marks = [mark(bottle("x", state=state)) for state in states]
    assert len({(item.glyph, item.word) for item in marks}) == len(states)
    assert mark(bottle("x", sidecar=SidecarHealth(state="failed"))).word == "sidecar down"
    assert mark(bottle("x", state="failed", exit_code=137)).word == "exit 137"


def test_the_worst_sidecar_is_told() -> None:
    healthy, failed = SidecarHealth(state="healthy"), SidecarHealth(state="failed")
    assert sidecars([bottle("a", sidecar=healthy), bottle("b", sidecar=failed)]).word == "1 down"
    assert sidecars([bottle("a", sidecar=healthy)]).word == "healthy"
    assert sidecars([bottle("a", state="ended", sidecar=failed)]).word == "none"
