"""The tests of the scan compile no rules of their own."""

import pytest

from tests.sidecar.dlp.dlp_kit import rules


@pytest.fixture(scope="session", autouse=True)
def prepared_rules() -> None:
    rules()
