"""Addresses of repositories: what each means, in how many ways one is written, and what git makes of them."""

from pathlib import Path

import pytest

from app.core.repositories import gitconfig, repositories
from app.core.schema import Bottle, GitUser, Manifest
from sidecar.gitgate.hostkeys import aliases, key_of, known_hosts
from sidecar.gitgate.urls import BadUrl, parse, spellings
from tests.gitgate.kit import git


@pytest.mark.parametrize(
    ("text", "url", "port", "path"),
    [
        ("git@github.com:me/app.git", "git@github.com:me/app.git", 22, "me/app"),
        ("github.com:me/app", "github.com:me/app", 22, "me/app"),
        ("git@h.example:/srv/app.git", "ssh://git@h.example/srv/app.git", 22, "srv/app"),
        ("ssh://git@h.example:2222/me/app.git", "ssh://git@h.example:2222/me/app.git", 2222, "me/app"),
        ("ssh://git@h.example/~/app", "git@h.example:app", 22, "app"),
        ("https://github.com/me/app", "https://github.com/me/app", 443, "me/app"),
        ("https://me@h.example:8443/a/b.git/", "https://me@h.example:8443/a/b.git", 8443, "a/b"),
        ("http://127.0.0.1:3000/me/app.git", "http://127.0.0.1:3000/me/app.git", 3000, "me/app"),
    ],
)
def test_what_an_address_means(text: str, url: str, port: int, path: str) -> None:
    found = parse(text)
    assert (found.url, found.port, found.path) == (url, port, path)
    assert parse(found.url).path == path


@pytest.mark.parametrize(
    "text",
    [
        "", "/srv/app.git", "../app", "file:///srv/app", "ext::sh -c x", "https://u:p@h.example/a", "https://h.example/",
        "https://h.example/a?x=1", "ssh://-oProxyCommand=x/a", "git@-x:a", "https://h.example/a/../../b",
        "git@h.example:-a", "https://h.example:x/a", "https://h.example/a\nb", "git@h.example:a b\tc", "ftp://h.example/a",
        "http://0x7f.1/a/b", "http://2130706433/a/b", "git@127.1:a/b",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BadUrl):
        parse(text)


def manifest(**repos: dict[str, object]) -> Manifest:
    key = {"host_key": "alias.example ssh-ed25519 AAAA", "key": {"path": "/k"}}
    return Manifest(
        bottle=Bottle.model_validate({"git-gate": {"repos": {name: {**key, **entry} for name, entry in repos.items()}}})
    )


def where(config: Path, address: str) -> str:
    """The address that git would really ask."""
    shown = git("ls-remote", "--get-url", address, env={"GIT_CONFIG_GLOBAL": str(config)})
    return shown.stdout.strip()


def test_git_itself_takes_every_spelling_to_the_gate(tmp_path: Path) -> None:
    found, problems = repositories(
        manifest(app={"url": "git@github.com:me/app.git"}, other={"url": "git@github.com:me/app2"})
    )
    assert problems == ()
    config = tmp_path / "gitconfig"
    config.write_text(gitconfig(found, GitUser(name='A "quoted\\name"', email="a@b.example")))
    assert git("config", "--file", str(config), "user.name").stdout == 'A "quoted\\name"\n'
    spelled = [
        "git@github.com:me/app", "github.com:me/app", "ssh://git@github.com/me/app", "ssh://github.com/me/app",
        "ssh://git@github.com:22/me/app", "https://github.com/me/app", "https://git@github.com/me/app",
        "http://github.com/me/app", "git://github.com/me/app", "git+ssh://git@github.com/me/app",
        "https://github.com:443/me/app", "git@alias.example:me/app", "git@github.com:/me/app",
    ]  # fmt: skip
    for text in spelled:
        assert where(config, text + ".git") == "http://git.carboy.internal/app.git"
        assert where(config, text) == "http://git.carboy.internal/app.git/="
        assert where(config, text + "2") == "http://git.carboy.internal/other.git/="
        # one that only begins alike: the gate sends it back to its own address
        assert where(config, text + "-x.git") == "http://git.carboy.internal/app.git/=-x.git"
    for text in ("https://github.com/me/ap", "https://github.com/you/app", "git@other.example:me/app"):
        assert where(config, text) == text


def test_an_ssh_port_and_a_user_of_ones_own() -> None:
    found = spellings(parse("ssh://dev@h.example:2222/a/b.git"))
    assert "ssh://dev@h.example:2222/a/b" in found
    assert "dev@h.example:a/b" in found
    assert "https://h.example/a/b" in found


def test_pinned_keys() -> None:
    upstream = parse("ssh://git@h.example:2222/a/b")
    for text in (
        "ssh-ed25519 AAAA",
        "ssh-ed25519 AAAA comment",
        "[h.example]:2222 ssh-ed25519 AAAA",
        "|1|x|y ssh-ed25519 AAAA",
    ):
        assert known_hosts(upstream, text) == "[h.example]:2222 ssh-ed25519 AAAA\n"
    assert aliases("a.example,[b.example]:22 ssh-ed25519 AAAA") == ("a.example", "b.example")
    for text in ("", "nonsense", "a b c", "ssh-ed25519"):
        with pytest.raises(ValueError):
            key_of(text)
