"""The audit chain: whatever is done to the rows or the head behind the key's back is found."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.chain import AuditRow, Head, next_row, open_head, seal_head, verify

KEY = b"a key of the tests"


def chain(length: int) -> tuple[list[AuditRow], Head]:
    head, rows = Head(), []
    for number in range(length):
        row = next_row(KEY, head, at=float(number), action="launch", slug=f"b{number}", detail={"n": number, "é": [1]})
        rows.append(row)
        head = Head(row.number, row.tag)
    return rows, head


def test_an_honest_chain_holds() -> None:
    for length in (0, 1, 5):
        rows, head = chain(length)
        assert verify(KEY, rows, head) == []


def test_rows_that_a_crash_left_beyond_the_head_are_no_fault() -> None:
    rows, _ = chain(5)
    assert verify(KEY, rows, Head(4, rows[3].tag)) == []


@given(st.data())
def test_any_tampering_is_found(data: st.DataObject) -> None:
    rows, head = chain(6)
    index = data.draw(st.integers(0, 5))
    how = data.draw(st.sampled_from(["change", "delete", "swap", "truncate", "renumber", "copy"]))
    if how == "change":
        field, value = data.draw(
            st.sampled_from(
                [("action", "stop"), ("at", 99.0), ("slug", "x"), ("detail", {}), ("actor", "me"), ("tag", "0")]
            )
        )
        rows[index] = replace(rows[index], **{field: value})
    elif how == "delete":
        del rows[index]
    elif how == "swap":
        other = (index + 1) % 6
        rows[index], rows[other] = rows[other], rows[index]
    elif how == "truncate":
        rows = rows[:index]
    elif how == "copy":
        rows.insert(index, rows[index])
    else:
        del rows[index]
        rows = [replace(row, number=place + 1) for place, row in enumerate(rows)]
    assert verify(KEY, rows, head)


def test_another_key_does_not_fit() -> None:
    rows, head = chain(2)
    assert verify(b"another", rows, head)


def test_a_missing_head_is_found() -> None:
    rows, _ = chain(2)
    assert verify(KEY, rows, None)
    assert verify(KEY, [], None)


def test_a_head_of_another_chain_is_found() -> None:
    rows, head = chain(3)
    assert verify(KEY, rows, Head(0)) == []  # only a crash before the first head leaves this, and it is sealed
    assert verify(KEY, rows, replace(head, tag="f" * 64))


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"[]", b'{"count": 1, "tag": "x", "mac": "y"}', b"\xff"])
def test_a_broken_head_is_no_head(data: bytes) -> None:
    assert open_head(KEY, data) is None


def test_a_head_comes_back_as_it_was() -> None:
    _, head = chain(3)
    sealed = seal_head(KEY, head)
    assert open_head(KEY, sealed) == head
    assert open_head(KEY, sealed.replace(b'"count":3', b'"count":2')) is None
    assert open_head(b"another", sealed) is None
