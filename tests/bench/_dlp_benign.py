"""Texts that a coding agent sends every day, made afresh: lock files, states, manifests, logs, keys that are public.
None holds a secret."""

import base64
import hashlib
import json
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

type Text = Callable[[random.Random], str]


def _hex(rng: random.Random, size: int) -> str:
    return rng.randbytes(size).hex()


def _b64(rng: random.Random, size: int) -> str:
    return base64.b64encode(rng.randbytes(size)).decode()


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(bytes=rng.randbytes(16), version=4))


def _many(line: Callable[[random.Random], str], count: int = 120, between: str = "\n") -> Text:
    return lambda rng: between.join(line(rng) for _ in range(count))


def _package_lock(rng: random.Random) -> str:
    packages = {
        f"node_modules/pkg-{at}": {
            "version": f"{at}.1.0",
            "resolved": f"https://registry.npmjs.org/pkg-{at}/-/pkg-{at}-{at}.1.0.tgz",
            "integrity": f"sha512-{_b64(rng, 64)}",
        }
        for at in range(120)
    }
    return json.dumps({"lockfileVersion": 3, "packages": packages}, indent=2)


def _state(rng: random.Random) -> str:
    """Of Terraform, without a password in it."""
    arn = f"arn:aws:secretsmanager:eu-west-1:{rng.randrange(10**11, 10**12)}:secret:app/db-{_b64(rng, 4)[:6]}"
    values = {
        "arn": arn,
        "secret_arn": arn,
        "id": f"i-{_hex(rng, 8)}1",
        "etag": _hex(rng, 16),
        "content_sha256": _hex(rng, 32),
        "thumbprint_list": [_hex(rng, 20)],
        "fingerprint": ":".join(f"{byte:02x}" for byte in rng.randbytes(16)),
        "secret_name": f"app-{_hex(rng, 4)}",
        "public_key": f"ssh-rsa {base64.b64encode(bytes(7) + b'ssh-rsa' + rng.randbytes(279)).decode()}",
    }
    one = {"mode": "managed", "instances": [{"attributes": values, "private": _b64(rng, 40)}]}
    return json.dumps({"version": 4, "serial": 41, "lineage": _uuid(rng), "resources": [one] * 30}, indent=2)


def _manifest(rng: random.Random) -> str:
    return "\n---\n".join(
        f"""apiVersion: v1
kind: Pod
metadata:
  uid: {_uuid(rng)}
  resourceVersion: "{rng.randrange(10**8)}"
  annotations: {{checksum/secret: {_hex(rng, 32)}, cni: {_hex(rng, 32)}}}
spec:
  containers:
  - image: docker.io/library/app@sha256:{_hex(rng, 32)}
    env:
    - name: DB_PASSWORD
      valueFrom: {{secretKeyRef: {{name: app-{_hex(rng, 5)}, key: password}}}}
  volumes:
  - secret: {{secretName: default-token-{_hex(rng, 3)[:5]}}}
  imagePullSecrets: [{{name: registry-{_hex(rng, 4)}}}]"""
        for _ in range(20)
    )


def _workflow(rng: random.Random) -> str:
    steps = "\n".join(
        f"""      - uses: owner/some-action@{_hex(rng, 20)} # v{at}.1.0
        with: {{token: ${{{{ secrets.GITHUB_TOKEN }}}}, npm_token: ${{{{ secrets.NPM_TOKEN }}}}}}
      - uses: SonarSource/sonarqube-scan-action@{_hex(rng, 20)}
        env: {{SONAR_TOKEN: "${{{{ secrets.SONAR_TOKEN }}}}"}}"""
        for at in range(15)
    )
    return f"on: push\njobs:\n  build:\n    steps:\n{steps}\n"


def _ci_log(rng: random.Random) -> str:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    lines = (
        "##[group]Run actions/checkout@v4",
        "with:\n  token: ***\n  ssh-strict: true",
        "env:\n  GITHUB_TOKEN: ***\n##[endgroup]",
        "[command]/usr/bin/git log -1 --format=%H\n'{sha}'",
        "Download action repository 'actions/cache@v4' (SHA:{sha})",
        "HEAD is now at {short} Merge {sha} into {sha}",
        "#12 exporting layers sha256:{long} 1.2s done",
        "{short}..{short}  main -> origin/main",
        "   Compiling serde v1.0.{number} (/build/{short})",
        "Test run {uuid} took {number}.{number}ms",
        "Cache restored from key: node-cache-Linux-npm-{long}",
    )
    made: list[str] = []
    for at in range(200):
        line = rng.choice(lines).format(
            sha=_hex(rng, 20), short=_hex(rng, 4), long=_hex(rng, 32), uuid=_uuid(rng), number=rng.randrange(999)
        )
        made.append(f"{(start + timedelta(milliseconds=at * 97)).isoformat()}Z {line}")
    return "\n".join(made)


def _diff(rng: random.Random) -> str:
    return "".join(
        f"""commit {_hex(rng, 20)}
diff --git a/src/auth.py b/src/auth.py
index {_hex(rng, 20)[:11]}..{_hex(rng, 20)[:11]} 100644
@@ -{at},7 +{at},8 @@ def token_for(user):
-    token = create_token(user, secret_key=settings.SECRET_KEY)
+    token = create_token(user, secret_key=settings.SECRET_KEY, expires=3600)
     password = request.form["password"]
"""
        for at in range(60)
    )


def _notebook(rng: random.Random) -> str:
    outputs = [{"data": {"image/png": base64.b64encode(b"\x89PNG\r\n\x1a\n" + rng.randbytes(3000)).decode()}}]
    floats = {"data": {"text/plain": ["array(", *(f"{rng.gauss(0, 2)!r}, " for _ in range(800)), ")"]}}
    cell = {"cell_type": "code", "id": _hex(rng, 4), "source": ["model.fit(x)"], "outputs": [*outputs, floats]}
    return json.dumps({"cells": [cell] * 3, "nbformat": 4})


def _public_keys(rng: random.Random) -> str:
    """A certificate, its key, keys of hosts and users."""
    private = ec.derive_private_key(rng.randrange(2**200, 2**250), ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app.example")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), rng.randrange(2**100), start, start)
        .add_extension(x509.SubjectKeyIdentifier(rng.randbytes(20)), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    ssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    user = ed25519.Ed25519PrivateKey.from_private_bytes(rng.randbytes(32)).public_key().public_bytes(*ssh).decode()
    host = rsa.generate_private_key(65537, 2048).public_key().public_bytes(*ssh).decode()
    digest = base64.b64encode(hashlib.sha256(rng.randbytes(9)).digest()).decode().rstrip("=")
    return "\n".join(
        (
            made.public_bytes(pem).decode(),
            private.public_key().public_bytes(pem, info).decode(),
            f"github.com {host}",
            f"|1|{_b64(rng, 20)}|{_b64(rng, 20)} {user}",
            f"{user} me@laptop",
            f"256 SHA256:{digest} me@laptop (ED25519)",
        )
    )


TEXTS: dict[str, Text] = {
    "package-lock.json": _package_lock,
    "yarn.lock": _many(
        lambda rng: (
            f'pkg@^1:\n  resolved "https://registry.yarnpkg.com/pkg.tgz#{_hex(rng, 20)}"\n'
            f"  integrity sha1-{_b64(rng, 20)}"
        )
    ),
    "yarn.lock (berry)": _many(lambda rng: f'"pkg@npm:^1":\n  checksum: 10c0/{_hex(rng, 64)}\n  linkType: hard'),
    "pnpm-lock.yaml": _many(lambda rng: f"  pkg@1.0.0:\n    resolution: {{integrity: sha512-{_b64(rng, 64)}}}"),
    "Cargo.lock": _many(lambda rng: f'[[package]]\nname = "token-cell"\nchecksum = "{_hex(rng, 32)}"'),
    "go.sum": _many(lambda rng: f"github.com/golang-jwt/jwt/v5 v5.2.1 h1:{_b64(rng, 32)}"),
    "poetry.lock": _many(lambda rng: f'    {{file = "keyring-25.tar.gz", hash = "sha256:{_hex(rng, 32)}"}},'),
    "uv.lock": _many(
        lambda rng: f'sdist = {{ url = "https://files.example/{_hex(rng, 30)}", hash = "sha256:{_hex(rng, 32)}" }}'
    ),
    "requirements.txt": _many(lambda rng: f"passlib==1.7.4 \\\n    --hash=sha256:{_hex(rng, 32)}"),
    "composer.lock": _many(
        lambda rng: f'"reference": "{_hex(rng, 20)}", "shasum": "", "content-hash": "{_hex(rng, 16)}"'
    ),
    "Gemfile.lock": _many(lambda rng: f"GIT\n  remote: https://github.com/a/b.git\n  revision: {_hex(rng, 20)}"),
    "Podfile.lock": _many(lambda rng: f"  KeychainAccess: {_hex(rng, 20)}"),
    "packages.lock.json": _many(lambda rng: f'"resolved": "9.0.1", "contentHash": "{_b64(rng, 64)}"'),
    "flake.lock": _many(lambda rng: f'"narHash": "sha256-{_b64(rng, 32)}", "rev": "{_hex(rng, 20)}"'),
    ".terraform.lock.hcl": _many(lambda rng: f'    "h1:{_b64(rng, 32)}",\n    "zh:{_hex(rng, 32)}",'),
    "mix.lock": _many(
        lambda rng: f'"jose": {{:hex, :jose, "1.11", "{_hex(rng, 32)}", [:mix], "hexpm", "{_hex(rng, 32)}"}},'
    ),
    "terraform state": _state,
    "pods": _manifest,
    "workflow": _workflow,
    "CI log": _ci_log,
    "diff": _diff,
    "git log": _many(
        lambda rng: (
            f"commit {_hex(rng, 20)}\nAuthor: A <a@b.example>\n\n    Rotate GITHUB_TOKEN (#{rng.randrange(999)})"
        )
    ),
    "npm audit": _many(
        lambda rng: (
            f'{{"source": {rng.randrange(10**7)}, "url": "https://github.com/advisories/GHSA-{_hex(rng, 2)}-m5vp", '
            f'"title": "jsonwebtoken secret retrieval", "cvss": {{"score": 7.{rng.randrange(9)}}}}}'
        )
    ),
    "notebook": _notebook,
    "public keys": _public_keys,
    "images": _many(lambda rng: f"registry.example/app/web@sha256:{_hex(rng, 32)}"),
    "uuids": _many(_uuid, 2000),
    "digests": _many(lambda rng: f"{_hex(rng, 32)}  dist/chunk-{rng.randrange(99)}.js", 1000),
    "SVG": _many(lambda rng: f"l{rng.uniform(-900, 900):.{rng.randrange(1, 15)}f}-{rng.uniform(0, 6000)}", 4000, " "),
    "embedding": lambda rng: json.dumps([rng.gauss(0, 0.03) for _ in range(3072)]),
    "traces": _many(
        lambda rng: json.dumps(
            {
                "traceId": _hex(rng, 16),
                "dd.trace_id": str(rng.randrange(10**18, 6 * 10**18)),
                "startTimeUnixNano": str(1764355123 * 10**9 + rng.randrange(10**15)),
            }
        ),
        400,
    ),
    "pages": _many(
        lambda rng: f'"NextToken": "{_b64(rng, 48)}", "nextPageToken": "{_b64(rng, 20)}", "ClientToken": "{_uuid(rng)}"'
    ),
    "signed URLs": _many(
        lambda rng: (
            "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260102"
            f"%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Signature={_hex(rng, 32)}"
        )
    ),
    "source map": _many(lambda rng: "".join(rng.choice("ACEGIKMOQSUWYacegikmoqsuwy,;AAAA") for _ in range(8000)), 3),
    "bundle": _many(
        lambda rng: (
            f'/***/"./src/{_hex(rng, 3)}.js":(e,t,n)=>{{"use strict";n.d(t,{{token:()=>r}});r=o("{_hex(rng, 9)}"),'
            f'i="static/js/main.{_hex(rng, 4)}.chunk.js",password:"Password",apiKey:e.apiKey}},'
        )
    ),
    "transfers of tokens": _many(
        lambda rng: (
            f'{{"tokenName": "A", "tokenDecimal": "18", "hash": "0x{_hex(rng, 32)}", "nonce": "{rng.randrange(99)}"}}'
        ),
        600,
    ),
    "queries": _many(
        lambda rng: (
            f"SELECT * FROM sessions WHERE id = {rng.randrange(10**18, 6 * 10**18)} "
            f"AND token_id = {rng.randrange(10**9)};"
        )
    ),
}


def texts(seed: int = 1) -> Iterator[tuple[str, str]]:
    rng = random.Random(f"daily {seed}")
    for name, make in TEXTS.items():
        yield name, make(rng)
