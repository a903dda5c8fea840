"""When a bottle's disk is nearly full, and when it is looked at again."""

import pytest

from app.core import quota

GIB = 1024**3


@pytest.mark.parametrize(
    ("used", "standing"), [(0, "room"), (79, "room"), (80, "warn"), (94, "warn"), (95, "full"), (200, "full")]
)
def test_thresholds(used: int, standing: str) -> None:
    assert quota.standing(used, 100) == standing


def test_the_fuller_the_more_often_and_never_all_the_time() -> None:
    looks = [quota.next_look(share * 40 * GIB // 100, 40 * GIB, 0.01) for share in (10, 60, 85)]
    assert looks == [300, 30, 5]
    assert quota.next_look(0, 1 * GIB, 0.0) == 5  # a small one is filled in seconds
    assert quota.next_look(38 * GIB, 40 * GIB, 2.0) == 100


def test_one_that_was_let_go_on_is_neither_full_nor_warned_about_at_once() -> None:
    more = quota.raised(96, 100)
    assert quota.standing(96, more) == "room"
    assert (quota.standing(105, more), quota.standing(106, more)) == ("room", "warn")
    assert (quota.standing(124, more), quota.standing(126, more)) == ("warn", "full")  # 30 % more, as the notice says
    assert quota.raised(10, 100) == 100
