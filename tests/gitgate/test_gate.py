"""The gate as git sees it: clones of every kind, pushes of every kind, upstream's words, and what is written down."""

import base64
import gzip
import os
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.gitgate.kit import GitRepo, SmartHttp, World, bare, git, one_each, secret, spawn, tips, url, world
from tests.gitgate.openssh import e2e_without_sshd, ssh_key, sshd

TOKEN = "the-token-of-the-upstream-1234567890"
KEY = "AKIA" + "QWERTYUIOPASDFG2"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    bare(tmp_path / "app.git")
    return tmp_path


@pytest.fixture
def http(root: Path):
    with SmartHttp(root).run() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worlds(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Iterator[World]]:
    async with one_each(tmp_path_factory.mktemp("up"), 18, max_push=4 * 1024 * 1024) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def one(worlds: Iterator[World]) -> World:
    return next(worlds)


async def test_clones_fetches_and_pushes(one: World) -> None:
    upstream = one.upstream
    clone = await one.clone()
    assert (clone / "README.md").read_text() == "hello\n"
    # what is new upstream is seen by the next fetch
    git("commit-tree", "-m", "theirs", "HEAD^{tree}", "-p", "HEAD", cwd=upstream)
    theirs = git("commit-tree", "-m", "theirs", "HEAD^{tree}", "-p", "HEAD", cwd=upstream).stdout.strip()
    git("update-ref", "refs/heads/main", theirs, cwd=upstream)
    git("tag", "-a", "v0", "-m", "release", theirs, cwd=upstream)
    await one.git("pull", "-q", "--tags", cwd=clone)
    assert (await one.git("rev-parse", "HEAD", cwd=clone))[1].strip() == theirs
    # new commits, a new branch, a tag, then both away again
    mine = await one.commit(clone, {"a.txt": "a\n"})
    await one.git("tag", "-a", "v1", "-m", "mine", cwd=clone)
    _, said = await one.git("push", "origin", "HEAD:main", "HEAD:refs/heads/topic/x", "v1", cwd=clone)
    assert "[new branch]" in said
    found = tips(upstream)
    assert found["refs/heads/main"] == found["refs/heads/topic/x"] == mine
    assert "refs/tags/v1" in found
    await one.git("push", "origin", ":topic/x", ":refs/tags/v1", cwd=clone)
    assert set(tips(upstream)) == {"refs/heads/main", "refs/tags/v0"}
    # upstream moves: git's own words, and nothing is changed
    later = git("commit-tree", "-m", "later", "HEAD^{tree}", "-p", "HEAD", cwd=upstream).stdout.strip()
    git("update-ref", "refs/heads/main", later, cwd=upstream)
    await one.commit(clone, {"b.txt": "b\n"})
    code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
    assert code == 1
    assert "fetch first" in said
    assert tips(upstream)["refs/heads/main"] == later
    kinds = {(event.method, event.code) for event in one.events()}
    assert kinds >= {("FETCH", "ok"), ("PUSH", "ok")}
    began, pushed, *_ = [event for event in one.events() if event.method == "PUSH"]
    assert (began.phase, pushed.phase, began.request_id) == ("open", "closed", pushed.request_id)
    assert (pushed.host, pushed.decision, pushed.scheme) == ("127.0.0.1", "allow", "git")
    assert "refs/heads/main" in pushed.path
    assert pushed.bytes_up > 100


@pytest.mark.parametrize("options", [("--depth=1",), ("--filter=blob:none",), ("-c", "protocol.version=0")])
async def test_kinds_of_clones(one: World, options: tuple[str, ...]) -> None:
    work = one.folder / "seed"
    git("clone", "-q", str(one.upstream), str(work))
    for number in range(5):
        (work / "file.txt").write_text(f"{number}\n" * 2000)
        git("add", ".", cwd=work)
        git("commit", "-q", "-m", f"n{number}", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    target = one.folder / "clone"
    await one.git("clone", "-q", *options, url(one.name), str(target))
    count = int((await one.git("rev-list", "--count", "HEAD", cwd=target))[1])
    assert count == (1 if "--depth=1" in options else 6)
    if options == ("--filter=blob:none",):
        assert (await one.git("show", "HEAD~3:file.txt", cwd=target))[1].startswith("1\n")
    if "--depth=1" in options:
        await one.commit(target, {"b.txt": "b\n"})
        await one.git("push", "-q", "origin", "HEAD:main", cwd=target)
        await one.git("fetch", "-q", "--unshallow", cwd=target)
        assert int((await one.git("rev-list", "--count", "HEAD", cwd=target))[1]) == 7


async def test_a_secret_is_refused_with_its_place(one: World) -> None:
    before = tips(one.upstream)
    clone = await one.clone()
    await one.commit(clone, {"src/config.py": f"one = 1\nkey = '{KEY}'\n"}, "adds it")
    bad = (await one.git("rev-parse", "HEAD", cwd=clone))[1].strip()
    await one.commit(clone, {"src/config.py": "one = 1\n"}, "and takes it away")
    code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
    assert code == 1
    assert f"commit {bad[:12]}, src/config.py:2: aws-access-key-id" in said
    assert "a secret was found" in said
    assert KEY not in said
    assert tips(one.upstream) == before
    event = next(event for event in one.events() if event.method == "PUSH")
    assert (event.decision, event.code) == ("deny", "git_secret_found")
    # what was refused is nowhere: not to be fetched, not on disk
    other = await one.clone()
    code, said = await one.git("fetch", "origin", bad, cwd=other, check=False)
    assert code != 0
    await one.git("reset", "-q", "--hard", "HEAD~2", cwd=clone)
    await one.commit(clone, {"src/config.py": "one = 1\n"})
    await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)


async def test_what_is_not_examined_to_its_end_is_not_called_a_secret(one: World) -> None:
    clone = await one.clone()
    (clone / "fixture.gz").write_bytes(gzip.compress(b"a line\n" * 4_000_000))
    await one.commit(clone, {"a.txt": "a\n"})
    code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
    assert code == 1
    assert "fixture.gz: Not examined to the end: " in said
    assert "commit it unpacked, in smaller files" in said
    assert "secret" not in said.replace("credential", "")
    event = next(event for event in one.events() if event.method == "PUSH")
    assert (event.decision, event.code) == ("deny", "git_scan_failed")
    await one.commit(clone, {"config.py": f"key = '{KEY}'\n"})
    code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
    assert "a secret was found" in said
    assert "commit it unpacked, in smaller files" in said


async def test_an_archive_of_many_files_is_read_file_by_file(one: World) -> None:
    clone = await one.clone()
    with zipfile.ZipFile(clone / "lib.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.txt", b"a line\n" * 1_500_000)
        archive.writestr("two.txt", b"two\n")
    await one.commit(clone, {"a.txt": "a\n"})
    await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
    with zipfile.ZipFile(clone / "lib.whl", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.py", f"key = '{KEY}'\n")
    await one.commit(clone, {"a.txt": "b\n"})
    code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
    assert code == 1
    assert "lib.whl (in its config.py): aws-access-key-id" in said
    assert "Not examined to the end" not in said


async def test_all_or_nothing(one: World) -> None:
    clone = await one.clone()
    await one.commit(clone, {"a.txt": "a\n"})
    await one.git("branch", "good", cwd=clone)
    await one.commit(clone, {"b.txt": f"{KEY}\n"})
    code, said = await one.git("push", "origin", "good", "HEAD:bad", cwd=clone, check=False)
    assert code == 1
    assert said.count("[remote rejected]") == 2
    assert set(tips(one.upstream)) == {"refs/heads/main"}


async def test_force_only_where_the_manifest_says_so(one: World) -> None:
    upstream = one.upstream
    clone = await one.clone()
    await one.commit(clone, {"a.txt": "a\n"})
    await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
    lost = tips(upstream)["refs/heads/main"]
    await one.git("reset", "-q", "--hard", "HEAD~1", cwd=clone)
    mine = await one.commit(clone, {"c.txt": "c\n"})
    code, said = await one.git("push", "--force", "origin", "HEAD:main", cwd=clone, check=False)
    assert code == 1
    assert "force_push" in said
    assert tips(upstream)["refs/heads/main"] == lost
    await one.git("push", "-q", "--force", url(f"{one.name}-forced"), "HEAD:main", cwd=clone)
    assert tips(upstream)["refs/heads/main"] == mine
    backups = one.folder.parents[1] / "gate" / "backups"
    kept = {name: oid for name, oid in tips(backups).items() if name.endswith(f"/{one.name}-forced/heads/main")}
    assert list(kept.values()) == [lost]


async def test_a_suppressed_finding_waits_for_the_operator(one: World) -> None:
    clone = await one.clone()
    await one.commit(clone, {"a.py": f"key = '{KEY}'  # gitleaks:allow\n"})
    push = spawn(one.git("push", "origin", "HEAD:main", cwd=clone, check=False), name="push")
    asked = await one.decide("rejected", "not in this repository")
    code, said = await push
    assert code == 1
    assert "waiting for the operator" in said
    assert "not in this repository" in said
    report = asked["report"]
    assert asked["type"] == "gitleaks-allow"
    assert "a.py:1: aws-access-key-id" in report["text"]
    assert KEY not in str(asked)
    # asked again and approved: it goes, and the same push needs no second answer
    push = spawn(one.git("push", "origin", "HEAD:main", cwd=clone, check=False), name="push")
    await one.decide("approved", "a test key")
    code, said = await push
    assert code == 0, said
    assert tips(one.upstream)["refs/heads/main"] == (await one.git("rev-parse", "HEAD", cwd=clone))[1].strip()
    codes = [(event.phase, event.code) for event in one.events() if event.method == "PUSH"]
    refused, held = [("open", "git_held"), ("closed", "git_not_approved")], ("open", "git_held")
    assert codes == [*refused, held, ("open", "ok"), ("closed", "ok")]


async def test_review_holds_every_push_with_its_diff(one: World) -> None:
    clone = await one.clone(f"{one.name}-reviewed")
    await one.commit(clone, {"a.py": "print('hello')\n", "évil\x1b[31m.txt": "x\n"}, "adds a program")
    push = spawn(one.git("push", "origin", "HEAD:main", cwd=clone, check=False), name="push")
    asked = await one.decide("approved")
    assert (await push)[0] == 0
    text = asked["report"]["text"]
    assert asked["type"] == "git-push"
    assert "+print('hello')" in text
    assert "adds a program" in text
    assert "refs/heads/main" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("kind", ["gitleaks-allow", "git-push"])
async def test_how_long_a_yes_to_a_push_holds(one: World, kind: str) -> None:
    """Upstream refuses a push that was approved: the same push once more is asked about again where the yes was for
    once, or its quarter of an hour is over. Another push always is."""
    hook = one.upstream / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'not now' >&2\nexit 1\n")
    hook.chmod(0o755)
    clone = await one.clone("" if kind == "gitleaks-allow" else f"{one.name}-reviewed")

    async def push(*answer: dict[str, Any]) -> list[str]:
        """What was asked about it, each answered with one of these."""
        pushing = spawn(one.git("push", "origin", "HEAD:main", cwd=clone, check=False), name="push")
        asked = [(await one.decide("approved", "fine", **each))["type"] for each in answer]
        code, said = await pushing
        assert (code, "remote: not now" in said) == (1, True), said
        assert one.asked() is None
        return asked

    async def change(number: int) -> None:
        value = f"'{KEY}'  # gitleaks:allow" if kind == "gitleaks-allow" else ""
        await one.commit(clone, {"a.py": f"number, key = {number}, {value}\n"})

    await change(1)
    assert await push({"scope": "once"}) == [kind]
    assert await push({"scope": "once"}) == [kind], "it was for once"
    assert await push({"scope": "15m", "decided_at": time.time() - 901}) == [kind]
    assert await push({"scope": "15m"}) == [kind], "the quarter of an hour was over"
    assert await push() == []
    await change(2)
    assert await push({"scope": "session"}) == [kind], "another push is another question"
    assert await push() == []
    hook.unlink()
    await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)


async def test_nobody_to_ask(one: World) -> None:
    clone = await one.clone(f"{one.name}-reviewed")
    await one.commit(clone, {"a.py": "a\n"})
    policy = one.box.config.policy
    await one.box.set_policy(policy.model_copy(update={"version": 3, "supervise": False}))
    try:
        code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
    finally:
        await one.box.set_policy(policy.model_copy(update={"version": 4, "hold_seconds": 200}))
    assert (code, "nobody supervises" in said) == (1, True)


async def test_upstreams_own_words_are_passed_on(one: World) -> None:
    hook = one.upstream / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'policy 7 forbids this' >&2\nexit 1\n")
    hook.chmod(0o755)
    before = tips(one.upstream)
    clone = await one.clone()
    mine = await one.commit(clone, {"a.txt": "a\n"})
    code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
    assert code == 1
    assert "remote: policy 7 forbids this" in said
    assert "pre-receive hook declined" in said
    assert tips(one.upstream) == before
    assert mine not in (await one.git("ls-remote", "origin", cwd=clone))[1]
    hook.unlink()
    await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)


async def test_a_token_is_used_and_never_shown(root: Path) -> None:
    expected = "Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
    with SmartHttp(root, token=TOKEN, expected=expected).run() as http:
        repo = GitRepo(name="app", url=http.url("app"), token_ref="FORGE")
        none = GitRepo(name="none", url=http.url("app"), token_ref="MISSING")
        async with world(repo, none, secrets={"FORGE": TOKEN}) as one:
            clone = await one.clone()
            await one.commit(clone, {"a.txt": "a\n"})
            await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
            assert any(headers.get("Authorization") == expected for _, _, headers in http.seen)
            code, said = await one.git("clone", url("none"), "x", check=False)
            assert (code, "the secret MISSING is not there" in said) == (128, True)
            # the token itself is a known secret of the scan, in disguise too
            await one.commit(clone, {"b.txt": base64.b64encode(b"x" + TOKEN.encode()).decode()})
            code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
            assert (code, "FORGE" in said) == (1, True)
            assert TOKEN not in said
            gate = one.folder.parent / "gate"
            for file in gate.rglob("*"):
                assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file


async def test_upstream_away_and_back(one: World) -> None:
    clone = await one.clone()
    away = one.upstream.with_name("away.git")
    one.upstream.rename(away)
    target = one.folder / "second"
    _, said = await one.git("clone", url(one.name), str(target))
    assert "upstream cannot be reached" in said
    assert (target / "README.md").exists()
    await one.commit(clone, {"a.txt": "a\n"})
    code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
    assert (code, "upstream" in said) == (1, True)
    away.rename(one.upstream)
    await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
    assert {"git_stale", "git_upstream_refused", "ok"} <= {event.code for event in one.events()}


@e2e_without_sshd
async def test_over_ssh_with_the_pinned_key_only(root: Path) -> None:
    private, public = ssh_key()
    with sshd(root / "ssh", public) as server:
        address = f"ssh://{server.user}@127.0.0.1:{server.port}{root}/app.git"
        good = GitRepo(name="app", url=address, host_key=server.host_key, ssh_key=secret(private))
        forged = good.model_copy(update={"name": "forged", "host_key": ssh_key()[1]})
        other = good.model_copy(update={"name": "other", "ssh_key": secret(ssh_key()[0])})
        async with world(good, forged, other) as one:
            clone = await one.clone()
            await one.commit(clone, {"a.txt": "a\n"})
            await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
            code, said = await one.git("clone", url("forged"), "x", check=False)
            assert (code, "Host key verification failed" in said) == (128, True), said
            code, said = await one.git("clone", url("other"), "x", check=False)
            assert (code, "Permission denied" in said) == (128, True), said
            gate = one.folder.parent / "gate"
            assert not any(b"PRIVATE KEY" in file.read_bytes() for file in gate.rglob("*") if file.is_file())


async def test_what_is_no_repository(one: World) -> None:
    code, said = await one.git("clone", url("nothing"), "x", check=False)
    assert (code, "no such repository here; there are: r0, r0-forced" in said) == (128, True)
    async with one.box.client() as client:
        host = "http://git.carboy.internal"
        for method, path, status in (
            ("GET", "/", 404), ("GET", "/r0.git/HEAD", 404), ("GET", "/r0.git/info/refs", 403),
            ("GET", "/r0.git/info/refs?service=git-upload-archive", 403), ("GET", "/r0.git/git-receive-pack", 405),
            ("POST", "/r0.git/info/refs?service=git-upload-pack", 403),
            ("POST", "/r0.git/git-upload-pack", 415), ("GET", "/r0.git/objects/info/packs", 404),
            ("GET", "/r0.git/%2e%2e/config", 404),
        ):  # fmt: skip
            answer = await client.request(method, host + path)
            assert answer.status_code == status, (method, path, answer.text)
        # an address that only begins like one of ours goes back to where it belongs
        moved = await client.get(f"{host}/r0.git/=-wiki.git/info/refs?service=git-upload-pack")
        assert moved.status_code == 301
        assert moved.headers["location"].endswith("/r0-wiki.git/info/refs?service=git-upload-pack")


async def test_a_push_that_is_too_large(one: World) -> None:
    clone = await one.clone()
    await one.commit(clone, {"big.bin": os.urandom(5_000_000)})
    code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
    assert code == 1
    assert "larger than 4 MiB" in said
    assert "the push is too large" in said
    await one.git("reset", "-q", "--hard", "HEAD~1", cwd=clone)
    await one.commit(clone, {"small.txt": "x\n"})
    await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
