"""settings.yml: read, checked, and shown with where each value came from. Host-level; a project has no say in it."""

import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from app.core.faults import check, show
from app.core.frontmatter import decode, parse_yaml
from app.core.model import Provenance
from app.core.schema import Settings
from app.core.yamltree import Document
from app.core.yamltree import Path as KeyPath
from app.errors import ConfigError
from app.files import read_bounded
from app.paths import Paths
from sidecar.contract import UpstreamSettings

MAX_SETTINGS = 64 * 1024
MAX_CA = 4 * 1024 * 1024
"""A whole system's bundle has about 250 KB."""
SOURCE = "settings.yml"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
"""Comments between the blocks, in whatever alphabet, stay behind."""


@dataclass(frozen=True)
class LoadedSettings:
    """The settings, a line for every value, and the text of the CA files (a sidecar may not read them itself)."""

    settings: Settings
    provenance: tuple[Provenance, ...] = ()
    ca_pems: tuple[str, ...] = field(default=(), repr=False)

    def upstream(self) -> UpstreamSettings:
        """How sidecars reach the internet from this host."""
        egress = self.settings.egress
        return UpstreamSettings(
            extra_ca=self.ca_pems, upstream_proxy=egress.upstream_proxy, connect_to=egress.connect_to
        )


def load_settings(paths: Paths) -> LoadedSettings:
    """The settings of this host; defaults where there is no file. Raises ConfigError with file, line and key."""
    file = str(paths.settings)
    try:
        text = decode(read_bounded(paths.settings, MAX_SETTINGS), file)
    except FileNotFoundError:
        text = ""
    except OSError as error:
        hint = "Check the file, its size and its permissions"
        raise ConfigError(f"cannot be read: {error.strerror or error}", hint, file=file) from None
    document = parse_yaml(text, file)
    settings = check(Settings, document, file)
    pems = tuple(_read_ca(name, document, index, file) for index, name in enumerate(settings.egress.extra_ca))
    return LoadedSettings(settings, tuple(_lines(settings, document)), pems)


def _read_ca(name: str, document: Document, index: int, file: str) -> str:
    """The PEM text of one CA file, which must hold at least one certificate that OpenSSL takes, and no private key."""
    path: KeyPath = ("egress", "extra_ca", index)

    def fault(message: str, hint: str) -> ConfigError:
        return ConfigError(message, hint, file=file, line=document.line(path), key=show(path, document.value))

    place = Path(os.path.expanduser(name))
    if not place.is_absolute():
        raise fault(f"{name} is not an absolute path", "Write the whole path: /etc/ssl/company.pem")
    try:
        text = read_bounded(place, MAX_CA).decode("utf-8", "replace")
    except OSError as error:
        raise fault(f"{name} cannot be read: {error.strerror or error}", "Check the path and permissions") from None
    if "PRIVATE KEY-----" in text:
        raise fault(f"{name} contains a private key", "Name a file with the certificate alone")
    certificates = "".join(f"{block}\n" for block in _CERTIFICATE.findall(text))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates)
    except (ssl.SSLError, ValueError):
        raise fault(f"{name} holds no PEM certificate", "Convert it: openssl x509 -in FILE -out FILE.pem") from None
    return certificates


def _lines(settings: Settings, document: Document) -> list[Provenance]:
    """Every setting, also the ones nobody set: what is in force must be visible."""
    lines: list[Provenance] = []
    _walk(settings.model_dump(mode="json", by_alias=True), (), document, lines)
    return lines


def _walk(value: Any, path: tuple[str, ...], document: Document, lines: list[Provenance]) -> None:
    if isinstance(value, dict) and value and (len(path) < 1 or path in (("egress",), ("keep",))):
        for key, inner in cast(dict[str, Any], value).items():
            _walk(inner, (*path, key), document, lines)
        return
    whole = document.value.get(path[0]) if isinstance(document.value, dict) else None
    line = document.lines.get(path if isinstance(whole, dict) else path[:1])  # `keep: all` is one line for all of it
    source = f"{SOURCE}:{line}" if line else "default"
    lines.append(Provenance(path=".".join(path), value=value, source=source))
