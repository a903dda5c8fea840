"""git's wire format: packets and the commands of a push, also of somebody who is not git."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.gitgate.pktline import (
    FLUSH,
    MAX_DATA,
    Malformed,
    band,
    next_packet,
    packet,
    read_push,
    valid_ref,
)

A, B, ZERO = "a" * 40, "b" * 40, "0" * 40


def head(*lines: str, capabilities: str = "report-status side-band-64k") -> bytes:
    first, *rest = lines
    data = packet(f"{first}\0{capabilities}".encode())
    return data + b"".join(packet(line.encode()) for line in rest) + FLUSH


def test_the_commands_of_a_push() -> None:
    data = head(f"{A} {B} refs/heads/main", f"{ZERO} {A} refs/tags/v1", f"{A} {ZERO} refs/heads/old")
    push = read_push(data + b"PACK....")
    assert [(each.ref, each.creates, each.deletes) for each in push.commands] == [
        ("refs/heads/main", False, False), ("refs/tags/v1", True, False), ("refs/heads/old", False, True),
    ]  # fmt: skip
    assert push.capabilities == {"report-status", "side-band-64k"}
    assert data[push.end :] == b""


def test_a_shallow_clones_lines_are_skipped() -> None:
    data = packet(f"shallow {A}".encode()) + head(f"{A} {B} refs/heads/main")
    assert len(read_push(data).commands) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"", b"0000"[:3], b"zzzz", b"0003", b"0004", b"ffff" + b"x" * 10, head("nonsense"),
        head(f"{A} {B} refs/heads/main", f"{A} {B} refs/heads/main"),
        head(f"{A} {B} refs/heads/../x"), head(f"{A} {B} refs/heads/-x:y"), head(f"{A} {B} HEAD"),
        head(f"{A} {B} refs/heads/main", capabilities="push-options"),
        packet(b"push-cert\0x") + FLUSH, packet(f"{A} {B} refs/heads/\xff".encode("latin-1")) + FLUSH,
        head(*(f"{A} {B} refs/heads/b{number}" for number in range(501))),
    ],
)  # fmt: skip
def test_what_is_not_a_push(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_push(data)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_push_or_malformed(data: bytes) -> None:
    for text in (data, packet(data[:300]) + FLUSH, head(f"{A} {B} refs/heads/x") + data):
        try:
            push = read_push(text)
        except Malformed:
            continue
        assert 0 < push.end <= len(text)


@given(st.text(max_size=60))
def test_a_reference_that_passes_can_stand_in_a_refspec(name: str) -> None:
    ref = "refs/heads/" + name
    if valid_ref(ref):
        assert not set(ref) & set(" :^~?*[\\\n\0")
        assert ".." not in ref
        assert not ref.endswith((".lock", "/", "."))


@given(st.binary(max_size=3 * MAX_DATA))
def test_bands_are_packets_that_join_again(data: bytes) -> None:
    joined, found = b"".join(band(2, data)), b""
    at = 0
    while at < len(joined):
        line, at = next_packet(joined, at)
        assert line is not None
        assert line[:1] == b"\x02"
        found += line[1:]
    assert found == data
