"""Planted secrets: wherever they hide in a push, it is refused or held, and nothing of it reaches upstream. And pushes
without any, which pass. A part runs always, the whole matrix with the slow tests."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from sidecar.contract import Route
from sidecar.dlp.patterns.model import CredentialType
from sidecar.gitgate.urls import parse
from tests.gitgate import plants
from tests.gitgate.kit import World, git, shared, tips, url

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROVISIONED = "Zk3v-correct-horse-battery-91-staple"
CANARY = "q7RfX2mLw9TzK4bVn8HsJ3dYc6GpA1eU"
OTHER = "t5HwQ9pZx3NcE7vKm2BgR8yLd4FsU6jA"
SLOW = "m8YrD4nWs6JhT1qXc9PkV5zGb3EaL7uF"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    root = tmp_path_factory.mktemp("plants")
    kwargs = {"secrets": {"PROVISIONED": PROVISIONED, "OTHER": OTHER, "SLOW": SLOW}, "canary": CANARY}
    async with shared(root, ["app", "benign"], supervise=False, **kwargs) as running:
        yield replace(running, name="app", upstream=root / "app.git")


async def refused(one: World, plant: plants.Plant, text: str, value: str = "") -> None:
    """Push it; assert that it was refused for what it holds, and that upstream is as it was."""
    before = tips(one.upstream)
    clone = plants.fresh_clone(one.upstream, one.folder / "planted")
    try:
        what = await plant(one, clone, text)
        code, said = await one.git("push", url("app"), *what, cwd=clone, check=False)
        assert code == 1, (plant.__name__, text, said)
        assert "a secret was found" in said or "nobody may approve it" in said, (plant.__name__, text, said)
        assert tips(one.upstream) == before
        ours = "".join(line for line in said.splitlines() if line.startswith("remote:"))
        assert not value or value not in ours
        assert not value or all(value not in event.model_dump_json() for event in one.box.events())
    finally:
        shutil.rmtree(clone)


@pytest.mark.parametrize("plant", plants.QUICK, ids=lambda plant: plant.__name__)
async def test_planted_secrets_are_refused(one: World, plant: plants.Plant) -> None:
    await refused(one, plant, PROVISIONED, PROVISIONED)
    await refused(one, plant, plants.credentials(40)[5].positives[0])


@pytest.mark.e2e
@pytest.mark.parametrize("each", plants.credentials(14), ids=lambda each: each.id)
async def test_every_place_times_many_credentials(one: World, each: CredentialType) -> None:
    for plant in plants.EVERYWHERE:
        await refused(one, plant, each.positives[0])


@pytest.mark.e2e
@pytest.mark.parametrize("value", [PROVISIONED, CANARY, PROVISIONED[::-1]], ids=["provisioned", "canary", "reversed"])
async def test_every_place_times_known_secrets(one: World, value: str) -> None:
    for plant in plants.EVERYWHERE:
        await refused(one, plant, value, value)


async def test_pieces_in_several_files_and_commits_are_put_together(one: World) -> None:
    """Each of seven letters, between other words: one file says nothing. Two in a push say as little."""

    async def scattered(one: World, clone: Path, text: str) -> tuple[str, ...]:
        for number in range(3):
            piece = text[number * 10 : number * 10 + 7]
            await one.commit(clone, {f"part{number}.txt": f"the value {piece} goes there\n" * (1 + 400 * number)})
        return plants.HEAD

    await refused(one, scattered, CANARY, CANARY[:7])
    clone = plants.fresh_clone(one.upstream, one.folder / "two")
    await one.commit(clone, {"a.txt": f"see {CANARY[:7]} here\n", "b.txt": f"see {CANARY[10:17]} here\n"})
    code, said = await one.git("push", url("app"), "HEAD:refs/heads/two", cwd=clone, check=False)
    assert code == 0, said


@pytest.mark.parametrize("beside", ["card 4539 1488 0343 6467", "AKIA" + "QWERTYUIOPASDFG2  # gitleaks:allow"])
async def test_what_refuses_no_push_hides_no_pieces(one: World, beside: str) -> None:
    """Test data that is let pass, and what an operator may approve, stand beside each piece."""

    async def scattered(one: World, clone: Path, text: str) -> tuple[str, ...]:
        parts = (text[at : at + 7] for at in (0, 10, 20))
        await one.commit(clone, {f"{at}.txt": f"{beside}\nthe value {each} there\n" for at, each in enumerate(parts)})
        return plants.HEAD

    await refused(one, scattered, OTHER, OTHER[:7])
    clone = plants.fresh_clone(one.upstream, one.folder / "beside")
    await scattered(one, clone, OTHER)
    said = (await one.git("push", url("app"), "HEAD:main", cwd=clone, check=False))[1]
    assert "Pieces of" in said
    shutil.rmtree(clone)


async def test_pieces_in_several_pushes_are_put_together(one: World) -> None:
    """And in names of references, in pushes to another repository, and in other requests of the bottle."""
    clone = plants.fresh_clone(one.upstream, one.folder / "several")
    pieces = [SLOW[at : at + 7] for at in (0, 10, 20)]

    async def push(number: int, repository: str, text: str, name: str = "x") -> tuple[int, str]:
        await one.commit(clone, {f"{number}.txt": f"see {text} here\n"})
        return await one.git(
            "push", url(repository), f"HEAD:refs/heads/several/{number}-{name}", cwd=clone, check=False
        )

    async with elsewhere(one) as ask:
        assert (await push(0, "app", pieces[0]))[0] == 0
        assert (await push(1, "benign", "this", pieces[1]))[0] == 0
        before = tips(one.upstream)
        for _ in range(2):
            code, said = await push(2, "app", pieces[2])
            assert (code, "Pieces of" in said, "left within the last hour" in said) == (1, True, True), said
        assert await ask(pieces[2]) == 403
        assert tips(one.upstream) == before
        await one.git("reset", "-q", "--hard", "HEAD~2", cwd=clone)
        assert (await push(3, "app", pieces[0]))[0] == 0, "the same piece once more is no other"
        assert await ask(pieces[1]) != 403
    shutil.rmtree(clone)


@contextlib.asynccontextmanager
async def elsewhere(one: World) -> AsyncIterator[Callable[[str], Awaitable[int]]]:
    """Requests that leave past the gate, each with a text; gives their status."""
    policy = one.box.config.policy.model_copy(update={"supervise": False})
    upstream = parse(one.box.config.git.repos[0].url) if one.box.config.git else None
    assert upstream is not None
    route = Route(host=upstream.host, ports=(upstream.port,), allow_private=True)
    await one.box.set_policy(policy.model_copy(update={"version": 3, "routes": (route,)}))

    async def ask(text: str) -> int:
        async with one.box.client() as client:
            return (
                await client.post(f"http://{upstream.host}:{upstream.port}/x", content=f"see {text} here")
            ).status_code

    yield ask
    await one.box.set_policy(policy.model_copy(update={"version": 4}))


async def test_names_are_scanned(one: World) -> None:
    async def in_a_file_name(one: World, clone: Path, text: str) -> tuple[str, ...]:
        await one.commit(clone, {f"dir/{text}.txt": "x\n"})
        return plants.HEAD

    async def in_a_folder_name(one: World, clone: Path, text: str) -> tuple[str, ...]:
        await one.commit(clone, {f"{text}/x.txt": "hello\n"})
        return plants.HEAD

    async def in_a_branch_name(one: World, clone: Path, text: str) -> tuple[str, ...]:
        await one.commit(clone, {"x.txt": "x\n"})
        return (f"HEAD:refs/heads/topic/{text}",)

    async def in_a_submodules_commit(one: World, clone: Path, text: str) -> tuple[str, ...]:
        await one.git("update-index", "--add", "--cacheinfo", f"160000,{text.encode().hex()[:40]:0<40},lib", cwd=clone)
        await one.git("commit", "-q", "-m", "lib", cwd=clone)
        return plants.HEAD

    async def in_an_authors_name(one: World, clone: Path, text: str) -> tuple[str, ...]:
        await one.git(
            "-c",
            f"user.name={text}",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "x",
            "--author",
            f"{text} <a@b>",
            cwd=clone,
        )
        return plants.HEAD

    for plant in (in_a_file_name, in_a_folder_name, in_a_branch_name, in_a_submodules_commit, in_an_authors_name):
        await refused(one, plant, PROVISIONED, PROVISIONED)


async def test_a_known_secret_cannot_be_suppressed(one: World) -> None:
    clone = plants.fresh_clone(one.upstream, one.folder / "planted")
    await one.commit(clone, {"a.py": f"x = '{PROVISIONED}'  # gitleaks:allow\n"})
    code, said = await one.git("push", url("app"), "HEAD:main", cwd=clone, check=False)
    assert (code, "a secret was found" in said) == (1, True), said
    shutil.rmtree(clone)


async def test_pushes_without_secrets_pass(one: World) -> None:
    upstream = one.upstream.with_name("benign.git")
    clone = plants.fresh_clone(upstream, one.folder / "benign")
    for name, files in plants.BENIGN.items():
        await one.commit(clone, files, name)
        code, said = await one.git("push", url("benign"), "HEAD:main", cwd=clone, check=False)
        assert code == 0, (name, said)
    # a documented example is told, not refused
    await one.commit(clone, {"docs.md": "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\n"})
    _, said = await one.git("push", url("benign"), "HEAD:main", cwd=clone)
    assert "documented example" in said
    assert git("rev-list", "--count", "main", cwd=upstream).stdout.strip() == str(len(plants.BENIGN) + 2)
