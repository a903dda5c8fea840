"""Whatever a backend cannot do, there is something to do instead."""

from typing import get_args

from app.backends.base import Capability
from app.core.capabilities import WAYS, ways


def test_every_capability_has_a_way_round() -> None:
    assert set(WAYS) == set(get_args(Capability))
    assert all(WAYS.values())


def test_only_what_is_missing_is_told() -> None:
    assert list(ways({"pause": True, "gpu": False})) == ["gpu"]
