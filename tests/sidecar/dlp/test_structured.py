"""Secrets with an inner form: what of them is secret is found however it is written, and what is not stands in innocent
texts."""

import base64
import json
import random

import pytest

from sidecar.dlp.structured import secret_parts
from tests.sidecar.dlp.dlp_kit import ENCODERS, INJECTED, PLACEMENTS, engine_for, scan

R = random.Random(31)


def random_text(size: int) -> str:
    return base64.b64encode(R.randbytes(size)).decode()


KEY = "\n".join(random_text(48) for _ in range(26))
ACCOUNT = json.dumps(
    {
        "type": "service_account",
        "project_id": "acme-build-prod",
        "private_key_id": R.randbytes(20).hex(),
        "private_key": f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----\n",
        "client_email": "builder@acme-build-prod.iam.gserviceaccount.com",
        "client_id": "104829174629174629174",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/builder%40acme-build-prod",
        "universe_domain": "googleapis.com",
    },
    indent=2,
)
KUBE = f"""apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority-data: {random_text(400)}
    server: https://k8s.internal.example.com:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
users:
- name: kubernetes-admin
  user:
    token: {random_text(30)}
"""
DATABASE = "postgres://app_user:hG7kq92LmZx4@db.internal.example.com:5432/production?sslmode=require"
SHORT = "redis://:Hn7kQ29x@cache.internal.example.com:6379/0"
DOTNET = (
    "Server=tcp:orders.database.windows.net,1433;Initial Catalog=orders;User ID=me;Password=Xk29vLmQ71aB;Encrypt=True"
)
WEBHOOK = "https://hooks.slack.example.com/services/T0AB12CD3/B0EF45GH6/x1Y2z3A4b5C6d7E8f9G0h1I2"
NPMRC = "registry=https://npm.internal.example.com/\n//npm.internal.example.com/:_authToken=Qm7xT29vLpa81ZkWr4\n"
LOGIN = (
    '{"user": "bob", "password": "quietly-Green-harbour", "pin-code": {"secret": "aB3:xY7=kL9,q"}, "key": "/etc/a.key"}'
)
HOOK = "https://Tk7xQm29vLpa81ZkWr4@hooks.example.com/build?source=acme-build-prod"
SECRETS = {
    "login": LOGIN, "hook": HOOK,
    "account": ACCOUNT, "kube": KUBE, "database": DATABASE, "short": SHORT, "dotnet": DOTNET, "webhook": WEBHOOK,
    "npmrc": NPMRC,
}  # fmt: skip
INNOCENT = [
    b"GET https://storage.googleapis.com/bucket/o\nhost: storage.googleapis.com",
    b"see https://accounts.google.com/o/oauth2/auth and https://oauth2.googleapis.com/token",
    ACCOUNT.replace(KEY.replace("\n", "\\n"), "...").replace(json.loads(ACCOUNT)["private_key_id"], "").encode(),
    b"kind: Config\nclusters:\n- cluster:\n    certificate-authority-data: AAAA\n  name: kubernetes\ncontexts:\n"
    b"- context:\n    cluster: kubernetes\n    user: kubernetes-admin\n  name: kubernetes-admin@kubernetes\n",
    b"postgres://app_user:x@db.internal.example.com:5432/production?sslmode=require",
    b"host=db.internal.example.com port=5432 dbname=production; cache.internal.example.com:6379",
    b"Server=tcp:orders.database.windows.net,1433;Initial Catalog=orders;User ID=me;Encrypt=True",
    b"POST https://hooks.slack.example.com/services/ and https://hooks.example.com/build?source=acme-build-prod",
    b'{"user": "bob", "password": "", "pin-code": {"secret": ""}, "key": "/etc/a.key"}',
    b"registry=https://npm.internal.example.com/",
]


@pytest.mark.parametrize("name", SECRETS)
def test_what_is_not_secret_of_it_stands_in_innocent_texts(name: str) -> None:
    engine = engine_for((SECRETS[name],))
    for text in INNOCENT:
        result = scan(engine, text, detectors=frozenset({"known_secrets"}))
        assert result.clean, (text, result.findings)
        assert len(result.pieces.seen) <= 1


@pytest.mark.parametrize("encoding", [*ENCODERS, *INJECTED])
@pytest.mark.parametrize("name", SECRETS)
def test_the_whole_is_found_in_every_encoding(name: str, encoding: str) -> None:
    engine, rng = engine_for((SECRETS[name],)), random.Random(3)
    written = (ENCODERS | INJECTED)[encoding](SECRETS[name].encode(), rng)
    assert scan(engine, PLACEMENTS["text"](written, rng)).blocked


@pytest.mark.parametrize("encoding", [*ENCODERS, *INJECTED])
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("account", KEY.splitlines()[3]),
        ("kube", KUBE.splitlines()[-1].split()[-1]),
        ("database", "hG7kq92LmZx4"),
        ("dotnet", "Xk29vLmQ71aB"),
        ("webhook", "x1Y2z3A4b5C6d7E8f9G0h1I2"),
        ("npmrc", "Qm7xT29vLpa81ZkWr4"),
        ("login", "quietly-Green-harbour"),
        ("login", "aB3:xY7=kL9,q"),
        ("hook", "Tk7xQm29vLpa81ZkWr4"),
    ],
)
def test_what_is_secret_of_it_is_found_by_itself(name: str, part: str, encoding: str) -> None:
    engine, rng = engine_for((SECRETS[name],)), random.Random(4)
    written = (ENCODERS | INJECTED)[encoding](part.encode(), rng)
    found = scan(engine, PLACEMENTS["text"](written, rng), detectors=frozenset({"known_secrets"}))
    assert found.blocked


def test_a_short_password_is_found_as_it_stands() -> None:
    assert scan(engine_for((SHORT,)), b"PGPASS is Hn7kQ29x here", detectors=frozenset({"known_secrets"})).blocked
    plain = engine_for(("postgres://postgres:postgres@localhost:5432/postgres",))
    assert scan(plain, b"the postgres server: postgres://postgres@db", detectors=frozenset({"known_secrets"})).clean


@pytest.mark.parametrize(
    "value",
    [
        "correct horse battery staple",
        "Zk3v-correct-horse-battery-91-staple",
        f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----\n",
        "amqp://guest:guest@rabbit:5672/",
        "machine api.example.com\n  login me\n  password s3cr3tPassw0rd\n",
        "x" * 70_000 + "\na: 1",
    ],
)
def test_a_value_of_which_nothing_else_can_be_told_is_secret_as_a_whole(value: str) -> None:
    assert secret_parts(value.encode()) == []
