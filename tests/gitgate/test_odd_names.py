"""Names that upstream has already: a branch may be called what no push through the gate may."""

import subprocess
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.gitgate.kit import World, git, one_each, tips

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worlds(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Iterator[World]]:
    async with one_each(tmp_path_factory.mktemp("names"), 3) as running:
        yield running


@pytest.mark.parametrize("name", [b"caf\xe9", "a\u2028b".encode(), "a\x85b".encode()])
async def test_upstreams_branches_may_have_any_name(worlds: Iterator[World], name: bytes) -> None:
    one = next(worlds)
    oid = tips(one.upstream)["refs/heads/main"]
    odd = b"refs/heads/" + name
    subprocess.run([b"git", b"update-ref", odd, oid.encode()], cwd=one.upstream, check=True)
    clone = await one.clone()
    await one.git("fetch", "-q", "origin", cwd=clone)
    held = subprocess.run(["git", "for-each-ref", "--format=%(refname)"], cwd=clone, check=True, capture_output=True)
    assert b"refs/remotes/origin/" + name in held.stdout.split(b"\n")
    await one.commit(clone, {"a.txt": "a\n"})
    await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
    assert git("rev-parse", "main", cwd=one.upstream).stdout == git("rev-parse", "HEAD", cwd=clone).stdout
