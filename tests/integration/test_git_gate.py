"""A launched bottle whose agent clones, commits and pushes through the gate, from inside the real sandbox."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.controller import gitgate
from app.errors import CarboyError
from app.paths import Paths
from tests.conftest import until
from tests.controller.test_deploy_keys import TOKEN, forge
from tests.gitgate.kit import SmartHttp, bare, git
from tests.gitgate.openssh import e2e_without_sshd, ssh_key, sshd
from tests.integration.launching import Rig, processes_of, rig

pytestmark = pytest.mark.sandbox


@pytest.fixture
async def real(paths: Paths) -> AsyncIterator[Rig]:
    async with rig(paths) as one:
        yield one


@pytest.fixture
def root(tmp_path: Path) -> Path:
    bare(tmp_path / "app.git")
    return tmp_path


def bottle(real: Rig, text: str) -> None:
    (real.paths.bottles / "plain.md").write_text(f"---\nagent_provider: {{template: shell}}\n{text}\n---\n")


def gits_of(paths: Paths) -> list[str]:
    """Programs of git gates that work in this home."""
    home, found = str(paths.config.parent).encode(), list[str]()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if os.path.basename(words[0]) in (b"ssh", b"git") and any(home in word for word in words):
                found.append(os.path.basename(words[0]).decode())
    return found


async def output(real: Rig, slug: str = "one") -> str:
    held = await real.sessions.terminal(slug, 24, 200)
    data = b""
    async with asyncio.timeout(60):
        async for piece in held.output():
            data += piece
    await held.close()
    return data.decode(errors="replace")


SCRIPT = (
    "cd /tmp && git clone -q {url} work && cd work && echo new > new.txt && git add . && git commit -q -m work"
    " && git push -q origin HEAD 2>&1; echo pushed $?; git config user.name; git config user.email; exit 0"
)


async def test_an_agent_pushes_by_the_real_address(real: Rig, root: Path) -> None:
    with SmartHttp(root).run() as http:
        bottle(
            real,
            "git-gate: {user: {name: 'A \"B\" C', email: agent@example.com}, "
            f"repos: {{app: {{url: '{http.url('app')}'}}}}}}",
        )
        plan = await real.sessions.preflight(real.request("true"))
        assert plan.problems == ()
        assert any("a mirror of 127.0.0.1/app" in line for line in plan.creates)
        assert {line.path: line.source for line in plan.resolved}["git-gate.user.email"] == "plain"
        # without `.git`: another spelling of the same repository
        await real.launch(SCRIPT.format(url=http.url("app").removesuffix(".git")))
        ended = await asyncio.wait_for(real.sessions.wait("one"), 120)
        shown = await output(real)
    assert ended.exit_code == 0
    assert "pushed 0" in shown, shown
    author = git("log", "-1", "--format=%an <%ae>", "main", cwd=root / "app.git").stdout.strip()
    assert author == 'A "B" C <agent@example.com>'
    await until(lambda: processes_of(real.paths) == [])
    assert not (real.paths.session_state("one") / "git").exists()


@e2e_without_sshd
async def test_an_ssh_key_stays_outside(real: Rig, root: Path) -> None:
    private, public = ssh_key()
    (root / "key").write_text(private)
    (root / "key").chmod(0o600)
    with sshd(root / "ssh", public) as server:
        url = f"ssh://{server.user}@127.0.0.1:{server.port}{root}/app.git"
        bottle(
            real,
            f"git-gate: {{repos: {{app: {{url: '{url}', host_key: '{server.host_key}', key: {{path: {root}/key}}}}}}}}",
        )
        await real.launch(
            "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; "
            + SCRIPT.format(url=url)
        )
        await asyncio.wait_for(real.sessions.wait("one"), 120)
        shown = await output(real)
        assert "pushed 0" in shown, shown
        kept = (real.paths.session_state("one") / "session.json").read_text()
        assert "PRIVATE KEY" not in kept
        assert "PRIVATE KEY" not in shown
        await until(lambda: not gits_of(real.paths))
        assert not (real.paths.session_state("one") / "git").exists()
        # and of one that is killed while its connection stands
        await real.launch(f"cd /tmp && git clone -q {url} work && read x", label="two")
        await until(lambda: "ssh" in gits_of(real.paths))
        await real.sessions.kill("two")
        await until(lambda: not gits_of(real.paths))
        assert not (real.paths.session_state("two") / "git").exists()


async def test_what_a_manifest_gets_wrong_is_said_before_anything_is_made(real: Rig, root: Path) -> None:
    wrong = {
        "a: {review: true}": "has no url",
        "a: {url: 'git@example.com:a/b.git'}": "not pinned",
        "a: {url: 'git@example.com:a/b.git', host_key: 'ssh-ed25519 AAAA'}": "needs a key",
        "a: {url: 'git@example.com:a/b.git', host_key: nonsense, key: {path: /x}}": "a host key is written",
        "a: {url: 'https://u:p@example.com/a/b'}": "password",
        "a: {url: 'https://example.com/a/b', key: {path: /x}}": "for SSH",
        "a: {url: 'http://example.com/a/b', key: {token_ref: T}}": "unencrypted",
        "a: {url: 'file:///etc'}": "not served",
        f"a: {{url: 'git@e.org:a/b.git', host_key: 'ssh-ed25519 A', key: {{path: {root}/none}}}}": "cannot be read",
        "a: {url: 'git@e.org:a/b.git', host_key: 'ssh-ed25519 A', key: {provider: gitea}}": "needs a token",
    }
    for text, said in wrong.items():
        bottle(real, f"git-gate: {{repos: {{{text}}}}}")
        plan = await real.sessions.preflight(real.request("true"))
        assert any(said in problem for problem in plan.problems), (text, plan.problems)


def test_backups_stay_for_thirty_days(paths: Paths) -> None:
    state = paths.session_state("one")
    (state / "git" / "backups").mkdir(parents=True)
    (state / "git" / "backups" / "HEAD").write_text("ref: x")
    gitgate._retire(paths, state, "one-abc")
    (kept,) = (paths.state / gitgate.BACKUPS).iterdir()
    assert kept.name.endswith("-one-abc.git")
    assert not (state / "git").exists()
    import time

    assert gitgate.expired(paths, time.time() + 29 * 86400) == []
    assert gitgate.expired(paths, time.time() + 32 * 86400) == [kept]


async def test_a_deploy_key_lives_as_long_as_its_bottle(real: Rig) -> None:
    async with forge("gitea", "git.example.com") as (api, settings):
        (ca,), (target,) = settings.extra_ca, settings.connect_to.values()
        (real.paths.config / "ca.pem").write_text(ca)
        (real.paths.settings).write_text(
            f"egress:\n  extra_ca: [{real.paths.config}/ca.pem]\n  connect_to: {{'git.example.com:443': '{target}'}}\n"
        )
        bottle(
            real,
            "git-gate: {repos: {app: {url: 'git@git.example.com:me/app.git', host_key: 'ssh-ed25519 AAAA', "
            "key: {provider: gitea, token_ref: API}}}}",
        )
        asked = real.request("echo up; read x; exit 0", secrets={"API": TOKEN})
        plan = await real.sessions.preflight(asked)
        assert any("deploy key" in text for text in plan.confirm.values())
        with pytest.raises(CarboyError) as refused:
            await real.sessions.launch(asked, real.steps.append)
        assert refused.value.code == "unconfirmed"
        assert api.keys == {}, "a dry run and a refused launch make none"
        await real.sessions.launch(asked.model_copy(update={"confirm": tuple(plan.confirm)}), real.steps.append)
        assert len(api.keys) == 1
        kept = (real.paths.session_state("one") / "session.json").read_text()
        assert TOKEN not in kept
        assert "PRIVATE KEY" not in kept
        await real.sessions.kill("one")
        assert api.keys == {}
        # agreed once: the next launch needs no second word; one that fails takes its key back
        api.fault = 500
        with pytest.raises(CarboyError):
            await real.sessions.launch(asked.model_copy(update={"label": "two"}), real.steps.append)
        assert api.keys == {}
