"""Providers are found by name, lazily, and a plugin cannot stand in for a built-in one."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from app.errors import NotFound
from app.providers import registry
from app.providers.base import Provider


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a distribution with the given entry points and code into a folder on the path."""

    def install(entries: str, code: str) -> None:
        info = tmp_path / "carboy_extra-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: carboy-extra\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[carboy.providers]\n{entries}\n")
        (tmp_path / "carboy_extra.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        registry._plugins.cache_clear()
        registry._load.cache_clear()

    yield install
    registry._plugins.cache_clear()
    registry._load.cache_clear()


def test_built_in_ones_need_no_installed_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda **_: ())
    registry._plugins.cache_clear()
    assert registry.names() == ("claude", "codex", "gemini", "opencode", "pi", "shell")
    for name in registry.names():
        assert registry.provider(name).name == name
    registry._plugins.cache_clear()


def test_an_unknown_one_lists_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound) as caught:
        registry.provider("cloude")
    assert "claude, codex, gemini, opencode, pi, shell" in caught.value.hint
    assert caught.value.code == "provider_unknown"


def test_a_plugin_is_found_by_its_entry_point(plugins) -> None:
    plugins(
        "mine = carboy_extra:Mine",
        "from app.providers.shell import ShellProvider\nclass Mine(ShellProvider):\n    name = 'mine'\n",
    )
    assert registry.names()[-1] == "mine"
    assert isinstance(registry.provider("mine"), Provider)


def test_a_plugin_cannot_take_a_built_in_name(plugins) -> None:
    plugins("claude = carboy_extra:Evil", "class Evil: pass\n")
    assert type(registry.provider("claude")).__module__ == "app.providers.claude"


@pytest.mark.parametrize("code", ["raise RuntimeError('boom')", "Broken = 3", "class Broken: pass"])
def test_a_broken_plugin_is_named_and_hurts_nobody_else(plugins, code: str) -> None:
    plugins("broken = carboy_extra:Broken", code)
    sys.modules.pop("carboy_extra", None)
    with pytest.raises(NotFound, match=r"broken|carboy_extra") as caught:
        registry.provider("broken")
    assert caught.value.code == "provider_broken"
    assert registry.provider("shell").name == "shell"


def test_the_registry_loads_no_provider_by_itself() -> None:
    code = (
        "import sys, app.providers.registry as r; r.names();"
        "bad = [m for m in ('app.providers.claude', 'docker', 'keyring', 'mitmproxy', 'aiohttp') if m in sys.modules];"
        "sys.exit(', '.join(bad) or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
