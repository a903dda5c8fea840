"""Finding an agent CLI: every way it is installed, and what a bottle has to see of it."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from app.errors import CarboyError
from app.providers import claude, codex, gemini, opencode, pi
from app.providers.claude import RECIPE
from app.providers.locate import Recipe, candidates, locate, numbers
from tests.e2e.packages import PINNED

IMAGES = Path(__file__).parents[2] / "manifests/images"
ELF = b"\x7fELF" + b"\0" * 60
MACHINE = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}[os.uname().machine]


def program(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def package(root: Path, name: str, version: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "package.json").write_text(json.dumps({"name": name, "version": version}))
    return root


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def environ(home: Path, *path: Path | str) -> dict[str, str]:
    return {"HOME": str(home), "PATH": os.pathsep.join(map(str, path)), "CARBOY_HOME": str(home / "carboy")}


def npm(prefix: Path, *, content: bytes = ELF, version: str = "2.1.329") -> Path:
    """The native package as npm lays it out below a global prefix; returns the folder with the link."""
    root = package(prefix / "lib/node_modules/@anthropic-ai/claude-code", RECIPE.package, version)
    binary = program(root / "bin/claude.exe", content)
    link = prefix / "bin/claude"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(binary, link.parent))
    return link.parent


def test_a_native_binary_is_mounted_alone_at_a_neutral_place(home: Path) -> None:
    found = locate(RECIPE, environ(home, npm(home / "npm")))
    assert found.program == "/opt/carboy/claude/claude"
    assert [(mount.source.name, mount.target, mount.writable) for mount in found.mounts] == [
        ("claude.exe", "/opt/carboy/claude/claude", False)
    ]
    assert (found.version, found.warnings, found.leading) == ("2.1.329", (), ())
    assert str(home) not in found.program


def test_npms_platform_package_serves_when_install_scripts_were_not_run(home: Path) -> None:
    bin_folder = npm(home / "npm", content=b"#!/bin/sh\necho please run the install script\n")
    scope = home / "npm/lib/node_modules/@anthropic-ai"
    name = f"claude-code-{os.uname().sysname.lower()}-{MACHINE}"
    native = program(package(scope / name, f"@anthropic-ai/{name}", "2.1.329") / "claude", ELF)
    found = locate(RECIPE, environ(home, bin_folder))
    assert found.mounts[0].source == native
    assert found.version == "2.1.329"


def test_a_script_comes_with_its_package_and_node(home: Path) -> None:
    node = program(home / "node/bin/node", ELF)
    bin_folder = npm(home / "npm", content=b"#!/usr/bin/env node\nimport('./cli.js')\n", version="2.0.1")
    found = locate(RECIPE, environ(home, bin_folder, node.parent))
    assert found.argv == ("/opt/carboy/node/node", "/opt/carboy/claude/bin/claude.exe")
    assert {mount.target: mount.source.name for mount in found.mounts} == {
        "/opt/carboy/claude": "claude-code",
        "/opt/carboy/node/node": "node",
    }


def test_a_script_without_node_says_so(home: Path) -> None:
    bin_folder = npm(home / "npm", content=b"#!/usr/bin/env node\n")
    with pytest.raises(CarboyError, match="node is needed"):
        locate(RECIPE, environ(home, bin_folder))


def test_the_native_installers_file_name_is_the_version(home: Path) -> None:
    program(home / ".local/share/claude/versions/2.1.300", ELF)
    (home / ".local/bin").mkdir(parents=True)
    (home / ".local/bin/claude").symlink_to(home / ".local/share/claude/versions/2.1.300")
    found = locate(RECIPE, environ(home))
    assert (found.version, found.program) == ("2.1.300", "/opt/carboy/claude/claude")


def test_the_local_installs_launcher_is_followed(home: Path) -> None:
    program(home / ".claude/local/claude", b'#!/bin/bash\nexec "$HOME/.claude/local/node_modules/.bin/claude" "$@"\n')
    root = package(home / ".claude/local/node_modules/@anthropic-ai/claude-code", RECIPE.package, "2.1.1")
    binary = program(root / "bin/claude.exe", ELF)
    shim = home / ".claude/local/node_modules/.bin/claude"
    shim.parent.mkdir()
    shim.symlink_to(binary)
    found = locate(RECIPE, environ(home))
    assert (found.mounts[0].source, found.version) == (binary, "2.1.1")


@pytest.mark.parametrize("where", ["npmrc", "variable", "beside-node", "own"])
def test_npm_prefixes_are_found_without_running_npm(home: Path, where: str) -> None:
    env = environ(home)
    if where == "npmrc":
        npm(home / "packages")
        (home / ".npmrc").write_text("fund=false\nprefix = ~/packages\n")
    elif where == "variable":
        npm(home / "packages")
        env["NPM_CONFIG_PREFIX"] = str(home / "packages")
    elif where == "beside-node":
        npm(home / "nvm/v22")
        program(home / "nvm/v22/bin/node", ELF)
        (home / "shims").mkdir()
        (home / "shims/node").symlink_to(home / "nvm/v22/bin/node")
        env["PATH"] = str(home / "shims")
    else:
        npm(home / "carboy/state/npm")
    assert locate(RECIPE, env).version == "2.1.329"


def test_relative_path_entries_are_never_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm(home / "project")
    monkeypatch.chdir(home / "project")
    env = {**environ(home), "PATH": f"bin{os.pathsep}.{os.pathsep}"}
    assert all(path.is_absolute() for path in candidates(RECIPE, env))
    with pytest.raises(CarboyError, match="not found"):
        locate(RECIPE, env)


def test_a_version_managers_shim_is_passed_over_for_a_real_one(home: Path) -> None:
    shims = program(home / "shims/claude", b'#!/bin/sh\nexec asdf exec claude "$@"\n').parent
    found = locate(RECIPE, environ(home, shims, npm(home / "npm")))
    assert found.version == "2.1.329"


def test_missing_names_what_was_passed_over_and_how_to_install(home: Path) -> None:
    shims = program(home / "shims/claude", b"#!/bin/sh\nexec true\n").parent
    with pytest.raises(CarboyError, match="wrapper") as caught:
        locate(RECIPE, environ(home, shims))
    assert "npm install" in caught.value.hint
    assert caught.value.code == "provider_missing"


def test_files_that_cannot_be_run_are_no_candidates(home: Path) -> None:
    (home / "bin/claude").mkdir(parents=True)
    (home / "bin2").mkdir()
    (home / "bin2/claude").write_bytes(ELF)
    (home / "bin3").mkdir()
    (home / "bin3/claude").symlink_to(home / "bin3/claude")
    with pytest.raises(CarboyError):
        locate(RECIPE, environ(home, home / "bin", home / "bin2", home / "bin3"))


@pytest.mark.parametrize(("version", "warned"), [("2.0.0", False), ("2.99.1", False), ("3.0.0", True)])
def test_untried_versions_are_warned_of(home: Path, version: str, warned: bool) -> None:
    found = locate(RECIPE, environ(home, npm(home / "npm", version=version)))
    assert bool(found.warnings) == warned
    assert all(version in text for text in found.warnings)


@pytest.mark.parametrize("module", [claude, codex, gemini, opencode, pi])
def test_the_tried_version_is_what_the_tests_install_and_not_warned_of(module: ModuleType) -> None:
    recipe: Recipe = module.RECIPE
    pinned = f"{recipe.package}@{recipe.tried}"
    assert pinned in PINNED.values()
    assert f" {pinned};" in (IMAGES / recipe.program / "Dockerfile").read_text()
    low, high = recipe.tested
    assert low <= numbers(recipe.tried) < high


def test_one_that_is_too_old_is_refused_with_the_command_that_helps(home: Path) -> None:
    with pytest.raises(CarboyError) as refused:
        locate(replace(RECIPE, tried="2.1.0"), environ(home, npm(home / "npm", version="1.9.9")))
    assert refused.value.code == "provider_version"
    assert "1.9.9" in refused.value.message
    assert f"npm install -g {RECIPE.package}@2.1.0" in refused.value.hint


def test_a_newer_one_behind_it_is_taken(home: Path) -> None:
    found = locate(RECIPE, environ(home, npm(home / "old", version="1.0.0"), npm(home / "new", version="2.5.0")))
    assert found.version == "2.5.0"


def test_the_program_is_asked_only_where_nothing_else_tells(home: Path) -> None:
    # /usr/bin/env is a native program that answers --version with a version of its own
    real = Path("/usr/bin/env")
    recipe = replace(RECIPE, program="env")
    found = locate(recipe, environ(home, real.parent))
    assert found.program == os.path.realpath(real)
    assert found.mounts == ()
    assert found.warnings


def test_a_hanging_program_does_not_hang_us(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import app.providers.node as module

    monkeypatch.setattr(module, "RUN_TIMEOUT", 0.2)
    (home / "node-sh").symlink_to("/bin/sh")
    folder = program(home / "bin/claude", f"#!{home}/node-sh\nexec sleep 60\n".encode()).parent
    program(home / "bin/node", ELF)
    started = time.monotonic()
    found = locate(RECIPE, environ(home, folder))
    assert found.version == ""
    assert time.monotonic() - started < 20


def test_a_broken_package_json_is_no_package(home: Path) -> None:
    bin_folder = npm(home / "npm")
    (home / "npm/lib/node_modules/@anthropic-ai/claude-code/package.json").write_text("[1, 2")
    found = locate(RECIPE, environ(home, bin_folder))
    assert found.version == ""
    assert "could not be found" in found.warnings[0]


CODEX = Recipe(
    program="codex",
    package="@openai/codex",
    title="Codex",
    install_hint="install it",
    native="{package}-{platform}/vendor/{triple}/bin/{program}",
    marker="codex-package.json",
)
SCRIPT = Recipe(program="pi", package="@earendil-works/pi", title="Pi", install_hint="install it")


def test_a_native_program_brings_the_folder_it_needs(home: Path) -> None:
    scope = home / "npm/lib/node_modules/@openai"
    root = package(scope / "codex", "@openai/codex", "0.169.0")
    launcher = program(root / "bin/codex.js", b"#!/usr/bin/env node\n")
    triple = os.uname().machine.replace("arm64", "aarch64") + "-unknown-linux-musl"
    if os.uname().sysname == "Darwin":
        triple = triple.replace("unknown-linux-musl", "apple-darwin")
    vendor = scope / f"codex-{os.uname().sysname.lower()}-{MACHINE}/vendor" / triple
    program(vendor / "bin/codex", ELF)
    (vendor / "codex-package.json").write_text("{}")
    (home / "bin").mkdir()
    (home / "bin/codex").symlink_to(launcher)
    found = locate(CODEX, environ(home, home / "bin"))
    assert (found.program, found.version, found.leading) == ("/opt/carboy/codex/bin/codex", "0.169.0", ())
    assert [(mount.source, mount.target) for mount in found.mounts] == [(vendor, "/opt/carboy/codex")]
    (vendor / "codex-package.json").unlink()
    assert locate(CODEX, environ(home, home / "bin")).program == "/opt/carboy/codex/codex"


@pytest.mark.parametrize("nested", [True, False])
def test_a_script_brings_its_dependencies_wherever_npm_put_them(home: Path, nested: bool) -> None:
    modules = home / "npm/node_modules"
    root = package(modules / "@earendil-works/pi", SCRIPT.package, "0.87.1")
    (root / "package.json").write_text(
        json.dumps({"name": SCRIPT.package, "version": "0.87.1", "dependencies": {"@scope/dep": "1"}})
    )
    package((root / "node_modules" if nested else modules) / "@scope/dep", "@scope/dep", "1.0.0")
    script = program(root / "dist/cli.js", b"#!/usr/bin/env node\n")
    node = program(home / "bin/node", ELF)
    (home / "bin/pi").symlink_to(script)
    found = locate(replace(SCRIPT, node_options=("--quiet",)), environ(home, node.parent))
    inside = "/opt/carboy/pi" if nested else "/opt/carboy/pi/node_modules/@earendil-works/pi"
    assert found.argv == ("/opt/carboy/node/node", "--quiet", f"{inside}/dist/cli.js")
    shown = {mount.target: mount.source for mount in found.mounts}
    assert shown == {
        "/opt/carboy/pi" if nested else "/opt/carboy/pi/node_modules": root if nested else modules,
        "/opt/carboy/node/node": node,
    }


def test_a_script_tells_which_node_it_needs_and_how_to_get_it(home: Path) -> None:
    root = package(home / "npm/node_modules/@earendil-works/pi", SCRIPT.package, "0.87.1")
    script = program(root / "cli.js", b"#!/usr/bin/env node\n")
    (home / "bin").mkdir()
    (home / "bin/pi").symlink_to(script)
    with pytest.raises(CarboyError, match=r"node 22\.19 or newer is needed; there is none") as caught:
        locate(replace(SCRIPT, node=(22, 19)), environ(home, home / "bin"))
    assert "npm install --prefix" in caught.value.hint
