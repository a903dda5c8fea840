"""settings.yml: defaults, values with their source, and the file, line and key of each fault."""

from pathlib import Path

import pytest
import trustme

from app.errors import ConfigError
from app.paths import Paths
from app.settings import load_settings


def write(paths: Paths, text: str | bytes) -> None:
    paths.config.mkdir(parents=True, exist_ok=True)
    paths.settings.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_defaults_without_a_file(paths: Paths) -> None:
    loaded = load_settings(paths)
    assert loaded.settings.shutdown == "cutoff"
    assert loaded.settings.budget_thresholds == (50, 80, 95)
    assert {line.source for line in loaded.provenance} == {"default"}
    write(paths, "# nothing yet\n")
    assert load_settings(paths).settings == loaded.settings


def test_values_and_where_they_come_from(paths: Paths, tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = tmp_path / "company.pem"
    ca.write_bytes("# Ünsere Firma\n".encode() + authority.cert_pem.bytes())
    write(
        paths,
        f"""budget: {{claude: 5000000, codex: {{usd: 20}}}}
budget_period: week
budget_thresholds: [10, 90]
egress:
  extra_ca: [{ca}]
  upstream_proxy: HTTP://Proxy.Company:3128/
  connect_to: {{"API.anthropic.com:443": "127.0.0.1:8443", "[::1]:1": "[::1]:2"}}
""",
    )
    loaded = load_settings(paths)
    lines = {line.path: line for line in loaded.provenance}
    assert lines["budget_period"].model_dump() == {
        "path": "budget_period",
        "value": "week",
        "source": "settings.yml:2",
    }
    assert lines["theme"].source == "default"
    assert lines["egress.upstream_proxy"].source == "settings.yml:6"
    assert loaded.settings.budget["codex"].usd == 20
    upstream = loaded.upstream()
    assert upstream.extra_ca == (authority.cert_pem.bytes().decode(),)
    assert upstream.upstream_proxy == "http://proxy.company:3128"
    assert upstream.connect_to == {"api.anthropic.com:443": "127.0.0.1:8443", "[::1]:1": "[::1]:2"}
    assert "BEGIN" not in repr(loaded)


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("themes: x", 1, "themes", "unknown key"),
        ("theme: x\nshutdown: never", 2, "shutdown", "'ask', 'cutoff', 'freeze' or 'kill'"),
        ("keep: {days: 0}", 1, "keep.days", "greater than 0"),
        ("keep: none", 1, "keep", "mapping"),
        ("stall_minutes: 0", 1, "stall_minutes", "greater than 0"),
        ("budget_thresholds: [50, 101]", 1, "budget_thresholds[1]", "less than or equal to 100"),
        ("budget: {claude: -1}", 1, "budget.claude", "greater than 0"),
        ("egress:\n  connect_to: {a.com: b.com}", 2, "egress.connect_to", "not host:port"),
        ("egress:\n  connect_to: {'a.com:1': 'b.com:99999'}", 2, "egress.connect_to", "not host:port"),
        ("egress:\n  upstream_proxy: socks5://x:1", 2, "egress.upstream_proxy", "http://host:port"),
        ("egress:\n  upstream_proxy: http://u:p@x:1", 2, "egress.upstream_proxy", "password"),
        ("egress:\n  extra_ca: [relative.pem]", 2, "egress.extra_ca[0]", "not an absolute path"),
        ("egress:\n  extra_ca:\n    - /nowhere/x.pem", 3, "egress.extra_ca[0]", "No such file"),
        ("egress:\n  extra_ca: [/dev/zero]", 2, "egress.extra_ca[0]", "regular file"),
        ("a: b: c", 1, "", "not valid YAML"),
        ("- a", 1, "", "keys are expected"),
        (b"\xff", 1, "", "UTF-8"),
        (b"#" * 70_000, 0, "", "cannot be read"),
    ],
)
def test_faults(paths: Paths, text: str | bytes, line: int, key: str, words: str) -> None:
    write(paths, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(paths)
    assert (caught.value.line, caught.value.key) == (line, key)
    assert words in caught.value.message
    assert caught.value.hint
    assert caught.value.file == str(paths.settings)


def test_a_ca_file_with_no_certificate_or_with_a_key(paths: Paths, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    write(paths, f"egress: {{extra_ca: [{ca}]}}")
    for content, words in (
        (b"hello", "no PEM certificate"),
        (b"", "no PEM certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no PEM certificate"),
        (trustme.CA().private_key_pem.bytes(), "private key"),
        (b"\xff" * 100, "no PEM certificate"),
    ):
        ca.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            load_settings(paths)
        assert words in caught.value.message
        assert caught.value.key == "egress.extra_ca[0]"


def test_what_is_kept_and_for_how_long(paths: Paths) -> None:
    write(paths, "theme: x\nkeep: {days: 7, size: 2GiB}\n")
    loaded = load_settings(paths)
    assert (loaded.settings.keep.days, loaded.settings.keep.size) == (7, 2 * 2**30)
    lines = {line.path: line for line in loaded.provenance}
    assert (lines["keep.days"].value, lines["keep.days"].source) == (7, "settings.yml:2")
    assert (lines["keep.refused_days"].value, lines["keep.refused_days"].source) == (365, "default")
    write(paths, "keep: {days: null}\n")
    keep = load_settings(paths).settings.keep
    assert (keep.days, keep.refused_days) == (None, 365)
    write(paths, "keep: all\n")
    loaded = load_settings(paths)
    assert set(loaded.settings.keep.model_dump().values()) == {None}
    assert {line.source for line in loaded.provenance if line.path.startswith("keep.")} == {"settings.yml:1"}
