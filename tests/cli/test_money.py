"""What `carboy usage` says something cost."""

import pytest

from app.cli.budgets import money
from app.core.budget import NANO
from app.core.model import Sum


@pytest.mark.parametrize(
    ("cost", "unpriced", "told"),
    [
        (0, 0, "$0.00"),
        (NANO // 1000, 0, "<$0.01"),
        (1234 * NANO, 0, "$1,234.00"),
        (0, 1500, "1.5k tokens: price unknown"),
        (2 * NANO, 1500, "$2.00 + 1.5k tokens: price unknown"),
    ],
)
def test_a_sum_of_money(cost: int, unpriced: int, told: str) -> None:
    assert money(Sum(cost_nano=cost, unpriced=unpriced)) == told
