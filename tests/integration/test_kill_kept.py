"""kill -9 of the controller at the steps of a snapshot and of a resume, with real local sandboxes: nothing is lost."""

import pytest

from app.paths import Paths
from tests.integration import walks

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]


@pytest.mark.parametrize("step", walks.COMMIT)
async def test_in_a_snapshot(paths: Paths, step: str) -> None:
    await walks.killed_in(paths, "local", "commit", step)
    await walks.after_a_commit(paths)


@pytest.mark.parametrize("step", walks.RESUME)
async def test_in_a_resume(paths: Paths, step: str) -> None:
    await walks.killed_in(paths, "local", "resume", f"{step} done")
    await walks.after_a_resume(paths)
