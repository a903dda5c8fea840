"""The demo's own world on disk: manifests, settings and a project in a private folder that is removed at the end.

The real-looking key is made here and lives in memory; on disk there is only its name.
"""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.demo.pretend.anthropic import HOST as MODEL_HOST
from app.paths import Paths
from sidecar.secret import Secret

PROJECT = Path(__file__).parent / "project"
INDEX_HOST = "pypi.org"
KEY_NAME = "CARBOY_DEMO_KEY"
BOTTLE = """\
---
agent_provider: {template: shell}
env:
  ANTHROPIC_API_KEY: {secret: CARBOY_DEMO_KEY}
budget: {anthropic: 600}
egress:
  log: 1
  routes:
    - host: api.anthropic.com
      auth: {scheme: {header: x-api-key}, token_ref: CARBOY_DEMO_KEY}
      matches:
        - paths: [{type: exact, value: /v1/messages}]
          methods: [POST]
      dlp: {outbound_on_match: redact}
    - host: pypi.org
      matches:
        - methods: [GET, HEAD]
---
The demo's bottle: it may talk to the model, for a few answers, and read a package index. Nothing else leaves.
"""
AGENT = """\
---
bottle: demo
---
"""


@dataclass(frozen=True)
class DemoHome:
    """The folders, and the key that must never be seen inside the bottle."""

    root: Path
    project: Path
    key: Secret

    @property
    def paths(self) -> Paths:
        return Paths.resolve({"CARBOY_HOME": str(self.root)})

    def write(self, port: int, ca_pem: str) -> None:
        """Manifests and settings for a pretend internet on `port`. Its names are still verified, by `ca_pem`."""
        config = self.paths.config
        (config / "agents").mkdir(parents=True)
        (config / "bottles").mkdir()
        (config / "agents/demo.md").write_text(AGENT)
        (config / "bottles/demo.md").write_text(BOTTLE)
        authority = config / "pretend-ca.pem"
        authority.write_text(ca_pem)
        (config / "settings.yml").write_text(
            "idle_exit_minutes: 1\n"
            "egress:\n"
            f"  extra_ca: [{authority}]\n"
            "  connect_to:\n"
            f'    "{MODEL_HOST}:443": "127.0.0.1:{port}"\n'
            f'    "{INDEX_HOST}:443": "127.0.0.1:{port}"\n'
        )


@contextmanager
def demo_home() -> Iterator[DemoHome]:
    """A fresh world, gone at the end. Its path is short: a unix socket's path has a limit."""
    root = Path(tempfile.mkdtemp(prefix="carboy-demo-"))
    try:
        project = root / "project"
        project.mkdir()
        for source in PROJECT.iterdir():
            if source.is_file():
                shutil.copyfile(source, project / source.name)
        yield DemoHome(root / "home", project, Secret(f"sk-ant-api03-demo-{secrets.token_hex(16)}"))
    finally:
        shutil.rmtree(root, ignore_errors=True)
