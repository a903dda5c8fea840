"""What a launch makes of files on disk; skills, Dockerfiles, editing, `init`, the starter library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app import manifests
from app.core.merge import provenance_list
from app.core.schema import Manifest, Settings
from app.errors import CarboyError, ConfigError, NotFound
from app.manifests.starters import library
from app.manifests.suffixes import shared_domain
from app.paths import Paths


def put(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.md"
    file.write_text(text)
    return file


def resolve(
    paths: Paths, agent: str | None = None, bottles: list[str] | None = None, cwd: Path | None = None
) -> Manifest:
    return manifests.resolve(paths, agent=agent, bottles=bottles, cwd=cwd, settings=Settings())


def test_picked_bottles_replace_the_agents_own(paths: Paths) -> None:
    put(paths.bottles, "one", "---\nworkspace: copy\n---")
    put(paths.bottles, "two", "---\nworkspace: none\n---")
    put(paths.agents, "dev", "---\nbottle: one\n---\nprompt")
    assert resolve(paths, "dev").bottle.workspace == "copy"
    assert resolve(paths, "dev", []).bottle_names == ("one",)
    assert resolve(paths, "dev", ["two"]).bottle_names == ("two",)
    assert resolve(paths, "dev", ["two", "one"]).bottle.workspace == "copy"
    assert resolve(paths, None, ["two"]).agent_name is None
    sources = {line.path: line.source for line in provenance_list(resolve(paths, "dev", ["two"]))}
    assert (sources["bottles"], sources["workspace"]) == ("launch", "two")


def test_no_bottle_says_both_ways_to_mend_it(paths: Paths) -> None:
    file = put(paths.agents, "dev", "prompt")
    with pytest.raises(CarboyError, match="no bottle for agent dev") as caught:
        resolve(paths, "dev")
    assert "--bottle NAME" in caught.value.hint
    assert f"`bottle: NAME` in {file}" in caught.value.hint
    assert "carboy init" in caught.value.hint, "there is none that could be picked"
    put(paths.bottles, "box", "---\n---\n")
    with pytest.raises(CarboyError, match="no bottle for a command") as caught:
        resolve(paths)
    assert "carboy init" not in caught.value.hint


def test_what_is_missing_is_named(paths: Paths) -> None:
    with pytest.raises(NotFound, match="no agent named 'dev'") as nothing:
        resolve(paths, "dev")
    assert "carboy init" in nothing.value.hint
    put(paths.agents, "other", "---\nname: x\nbottle: nope\n---")
    with pytest.raises(NotFound) as caught:
        resolve(paths, "dev")
    assert caught.value.hint == "Agents here: other"
    with pytest.raises(ConfigError, match="no bottle named 'nope'") as broken:
        resolve(paths, "other")
    assert (broken.value.line, broken.value.key) == (3, "bottle")


def test_skills_must_exist(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    put(paths.bottles, "b", "---\n---")
    put(paths.agents, "dev", "---\nbottle: b\nskills:\n  - pdf\n  - deploy\n---")
    (paths.config / "skills" / "pdf").mkdir(parents=True)
    with pytest.raises(ConfigError, match="no skill named 'deploy'") as caught:
        resolve(paths, "dev")
    assert (caught.value.line, caught.value.key) == (5, "skills[1]")
    claude = tmp_path / ".claude" / "skills"
    for name in ("deploy", "pdf"):
        (claude / name).mkdir(parents=True)
    found = resolve(paths, "dev")
    assert manifests.skill_folders(paths, found.agent.skills, found.agent_origin) == {
        "pdf": paths.config / "skills" / "pdf",
        "deploy": claude / "deploy",
    }


def test_a_projects_agent_gets_only_skills_that_were_offered(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".claude" / "skills" / "private").mkdir(parents=True)
    (paths.config / "skills" / "offered").mkdir(parents=True)
    put(paths.bottles, "b", "---\n---")
    agents = tmp_path / "project" / ".carboy" / "agents"
    put(agents, "dev", "---\nbottle: b\nskills: [offered]\n---")
    assert resolve(paths, "dev", cwd=tmp_path / "project").agent.skills == ("offered",)
    put(agents, "dev", "---\nbottle: b\nskills: [private]\n---")
    with pytest.raises(ConfigError, match="no skill named 'private'"):
        resolve(paths, "dev", cwd=tmp_path / "project")


def test_a_dockerfile_must_exist_and_counts_from_its_file(paths: Paths) -> None:
    put(paths.bottles, "b", "---\nagent_provider:\n  dockerfile: images/Dockerfile\n---")
    with pytest.raises(ConfigError, match="no Dockerfile") as caught:
        resolve(paths, None, ["b"])
    assert (caught.value.line, caught.value.key) == (3, "agent_provider.dockerfile")
    file = paths.bottles / "images" / "Dockerfile"
    file.parent.mkdir()
    file.write_text("FROM scratch\n")
    assert resolve(paths, None, ["b"]).bottle.agent_provider.dockerfile == str(file)


def test_editing(paths: Paths) -> None:
    put(paths.bottles, "both", "---\n---")
    put(paths.agents, "both", "x")
    put(paths.agents, "dev", "x")
    assert manifests.edit_target(paths, "dev") == paths.agents / "dev.md"
    assert manifests.edit_target(paths, "bottle/both") == paths.bottles / "both.md"
    assert manifests.edit_target(paths, "agent/new") == paths.agents / "new.md"
    assert manifests.edit_target(paths, "settings") == paths.settings
    for name, error in (
        ("both", "there is an agent and a bottle"),
        ("gone", "no agent or bottle"),
        ("bottle/../x", "no name"),
    ):
        with pytest.raises(CarboyError, match=error):
            manifests.edit_target(paths, name)
    manifests.validate_file(paths, paths.agents / "dev.md")
    broken = put(paths.bottles, "broken", "---\nextends: both\nfoo: 1\n---")
    with pytest.raises(ConfigError, match="unknown key") as caught:
        manifests.validate_file(paths, broken)
    assert caught.value.line == 3
    paths.settings.write_text("theme: [")
    with pytest.raises(ConfigError):
        manifests.validate_file(paths, paths.settings)


def test_a_full_disk_leaves_the_old_file(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    from app import files

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    file = put(paths.bottles, "b", "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.atomic_write(file, b"new")
    monkeypatch.undo()
    assert (file.read_text(), os.listdir(paths.bottles)) == ("old", ["b.md"])


def test_atomic_write_and_create(tmp_path: Path) -> None:
    from app.files import atomic_write, create

    file = tmp_path / "f"
    atomic_write(file, b"one", 0o640)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"one", 0o640)
    (tmp_path / "link").symlink_to(file)
    atomic_write(tmp_path / "link", b"two")
    assert (tmp_path / "link").is_symlink()
    assert file.read_bytes() == b"two"
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert not create(file, b"three")
    assert not create(tmp_path / "dangling", b"three")
    assert create(tmp_path / "new", b"three")
    assert sorted(os.listdir(tmp_path)) == ["dangling", "f", "link", "new"]
    assert file.read_bytes() == b"two"


# --- init and the starter library ----------------------------------------------------------------------------------


def test_every_starter_loads_resolves_and_has_notes(paths: Paths) -> None:
    report = manifests.init(paths)
    assert not report.warnings
    assert not report.kept
    catalogue = manifests.load_catalogue(paths, None)
    assert not catalogue.warnings
    assert all(entry.error is None for entry in (*catalogue.agents, *catalogue.bottles))
    assert all(entry.notes for entry in catalogue.bottles)
    assert all(entry.description for entry in catalogue.agents)
    assert {entry.provider for entry in catalogue.bottles} >= {"claude", "codex", "pi", "opencode", "gemini", "shell"}
    for entry in catalogue.agents:
        assert resolve(paths, entry.name).bottle.agent_provider.template
    for entry in catalogue.bottles:
        assert resolve(paths, None, [entry.name]).lineage == entry.lineage


def test_read_only_starters_grant_no_writing(paths: Paths) -> None:
    manifests.init(paths)
    for name in ("net-read", "github-read"):
        for route in resolve(paths, None, [name]).bottle.egress.routes:
            assert route.matches
            methods = {method for match in route.matches for method in match.methods}
            assert methods <= {"GET", "HEAD"} or (route.host == "github.com" and route.git.fetch)
    assert not resolve(paths, None, ["offline"]).bottle.egress.routes


def test_init_never_overwrites(paths: Paths) -> None:
    mine = put(paths.bottles, "base", "mine")
    report = manifests.init(paths)
    assert report.kept == [mine]
    assert mine.read_text() == "mine"
    again = manifests.init(paths)
    assert not again.written


def test_init_takes_what_is_picked_and_what_it_needs(paths: Paths) -> None:
    manifests.init(paths, pick=["agents/reviewer"])
    assert sorted(os.listdir(paths.agents)) == ["reviewer.md"]
    assert sorted(os.listdir(paths.bottles)) == ["base.md", "claude.md", "review.md"]
    assert {folder.stat().st_mode & 0o777 for folder in (paths.config, paths.agents, paths.bottles)} == {0o700}
    with pytest.raises(NotFound, match="no starter named 'nope'"):
        manifests.init(paths, pick=["nope"])
    assert {starter.id for starter in manifests.starters()} >= {"agents/developer", "bottles/base"}


def test_init_takes_another_tree_unchanged(paths: Paths, tmp_path: Path) -> None:
    good = put(tmp_path / "bottles", "work", "---\nextends: []\nenv: {PORT: 80}\n---\r\nnotes")
    put(tmp_path / "bottles", "broken", "---\nfoo: 1\n---")
    put(tmp_path / "agents", "helper", "---\nbottle: work\ngit-gate: {user: {name: A}}\n---\nprompt")
    put(tmp_path / "agents", "Bad Name", "x")
    report = manifests.init(paths, from_dir=tmp_path)
    assert (paths.bottles / "work.md").read_bytes() == good.read_bytes()
    assert len(report.written) == 2
    assert any("unknown key 'foo'" in warning for warning in report.warnings)
    assert any("Bad Name" in warning for warning in report.warnings)
    assert resolve(paths, "helper").bottle.env == {"PORT": "80"}
    with pytest.raises(NotFound, match="neither agents/ nor bottles/"):
        manifests.init(paths, from_dir=tmp_path / "agents")


def test_the_library_is_found_in_a_checkout() -> None:
    assert (library() / "bottles" / "base.md").is_file()


@pytest.mark.parametrize(
    "domain",
    ["com", "co.uk", "github.io", "s3.amazonaws.com", "amazonaws.com", "core.windows.net", "kobe.jp", "x.kobe.jp",
     "storage.googleapis.com", "xn--p1ai", "vercel.app", "ngrok.io", "localhost"],
)  # fmt: skip
def test_domains_of_many_owners(domain: str) -> None:
    assert shared_domain(domain)


@pytest.mark.parametrize(
    "domain", ["example.com", "github.com", "city.kobe.jp", "pypi.org", "company.internal", "a.b.c.de"]
)
def test_domains_of_one_owner(domain: str) -> None:
    assert shared_domain(domain) is None


def test_a_wildcard_on_one_is_refused_when_the_file_is_read(paths: Paths) -> None:
    put(paths.bottles, "wide", "---\negress:\n  routes:\n    - host: '*.github.io'\n---")
    put(paths.bottles, "meant", "---\negress:\n  routes:\n    - host: '*.github.io'\n      shared: true\n---")
    entries = {entry.name: entry.error for entry in manifests.load_catalogue(paths, None).bottles}
    assert "github.io is a public suffix" in str(entries["wide"])
    assert entries["meant"] is None


def test_a_bottle_with_a_provider_or_backend_that_does_not_exist_is_listed_as_faulty(paths: Paths) -> None:
    file = put(paths.bottles, "cli", "---\nagent_provider:\n  template: clade\n---")
    put(paths.bottles, "child", "---\nextends: cli\n---")
    put(paths.bottles, "mended", "---\nextends: cli\nagent_provider: {template: claude}\n---")
    put(paths.bottles, "box", "---\nworkspace: copy\nbackend: podmann\n---")
    put(paths.bottles, "sound", "---\nbackend: auto\n---")
    entries = {entry.name: entry.error for entry in manifests.load_catalogue(paths, None).bottles}
    for name in ("cli", "child"):
        assert f"{file}:3: agent_provider.template: no provider is called 'clade'" in str(entries[name])
    assert "box.md:3: backend: There is no backend 'podmann'. Known: auto, local, docker" in str(entries["box"])
    assert entries["mended"] is entries["sound"] is None


@pytest.mark.parametrize("kind", ["bottles", "agents"])
def test_a_link_to_nothing_is_called_that(paths: Paths, kind: str) -> None:
    folder = paths.config / kind
    folder.mkdir(parents=True)
    (folder / "b-link.md").symlink_to("gone.md")
    catalogue = manifests.load_catalogue(paths, None)
    entry = (catalogue.bottles if kind == "bottles" else catalogue.agents)[0]
    said = (
        f"{folder / 'b-link.md'}: the link leads nowhere: there is no gone.md. Put the file there, or remove the link"
    )
    assert entry.error == said


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, app.manifests, app.settings; print([m for m in ('textual', 'mitmproxy', 'docker', 'aiohttp', " \
           "'keyring', 'watchfiles', 'cryptography') if m in sys.modules])"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
