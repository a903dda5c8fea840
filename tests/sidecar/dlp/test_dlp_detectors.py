"""Detectors one by one: money, assignments, entropy, CRLF, host names, drip, folding."""

import base64
import hashlib
import json
import random

import pytest

from sidecar.dlp import crlf, entropy, fold, host_labels, money
from sidecar.dlp.drip import Drips
from sidecar.dlp.engine import DEFAULT, Engine, EngineConfig
from sidecar.dlp.finding import Location
from sidecar.dlp.information import informative
from sidecar.dlp.matcher import Backend
from sidecar.dlp.placeholders import is_placeholder
from tests.bench import _dlp_benign as daily
from tests.sidecar.dlp.dlp_kit import BODY, PROSE, engine_for, make_secret, names, scan


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.compile(EngineConfig())


# --- money --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("pay with 4539 1488 0343 6467 today", "card"),
        ("pay with 4539-1488-0343-6467.", "card"),
        ('{"number":"4539148803436467"}', "card"),
        ("amex 3714 496353 98431", "card"),
        ("to DE89 3704 0044 0532 0130 00", "iban"),
        ("to GB82WEST12345698765432 please", "iban"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "bitcoin"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "bech32"),
        ("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "ethereum"),
        ("wif 5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ", "wif"),
        ("phrase: legal winner thank year wave sausage worth useful legal winner thank yellow", "seed-phrase"),
        ("legal\nwinner\nthank\nyear\nwave\nsausage\nworth\nuseful\nlegal\nwinner\nthank\nyellow", "seed-phrase"),
    ],
)
def test_money_is_found(engine: Engine, text: str, kind: str) -> None:
    assert names(scan(engine, f"before {text} after".encode())) == {kind}


@pytest.mark.parametrize(
    "text",
    [
        "4539 1488 0343 6468",
        "0.4539148803436467",
        "build 45391488034364670123456",
        "id 1700000000000",
        "DE89 3704 0044 0532 0130 01",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
        "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
        "legal winner thank year wave sausage worth useful legal winner thank legal",
    ],
)
def test_a_wrong_checksum_is_no_money(engine: Engine, text: str) -> None:
    assert scan(engine, f"x {text} y".encode()).clean


def test_a_test_card_is_marked_as_an_example(engine: Engine) -> None:
    strict = scan(engine, b"use 4242 4242 4242 4242 here").findings[0]
    assert (strict.example, strict.severity) == (True, "block")
    mild = engine.scan(b"use 4242424242424242 here", where=BODY, examples="warn").findings[0]
    assert (mild.example, mild.severity) == (True, "warn")


def test_keccak_is_not_sha3() -> None:
    assert money.keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert money.keccak256(b"abc") != hashlib.sha3_256(b"abc").digest()


def test_a_detector_that_is_off_says_nothing(engine: Engine) -> None:
    data = b"4539 1488 0343 6467"
    assert engine.scan(data, where=BODY, detectors=DEFAULT - {"financial"}).clean


# --- assignments and placeholders ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'password = "Zx81!kk9Qm"',
        '{"client_secret":"9fK2lmQx81ZpAa"}',
        r'{"arguments":"{\"api_key\": \"9fK2lmQx81ZpAa\"}"}',
        "DB_PASSWORD='t7#Kp29xLw'",
        "postgres://app:k3yf0r9x@db.example/x",
        "https://me:Zk29dLqp@git.example/repo.git",
    ],
)
def test_assigned_secrets_are_found(engine: Engine, text: str) -> None:
    found = scan(engine, f"line\n{text}\nline".encode())
    assert names(found) & {"generic-assignment", "url-password"}


FORMS = {
    "env": "DB_PASSWORD={}\n",
    "env exported": "export API_SECRET={}",
    "dotenv in json": '{{"content": "A=1\\nDB_PASSWORD={}\\nB=2"}}',
    "yaml": "db:\n  password: {}\n  host: x",
    "yaml block": "password: |\n  {}\n",
    "ini": "[db]\npassword = {}\n",
    "properties": "spring.datasource.password={}",
    "compose": "environment:\n  - POSTGRES_PASSWORD={}",
    "kubernetes": "- name: DB_PASSWORD\n  value: {}",
    "dockerfile": "ENV DB_PASSWORD {}",
    "xml": "<password>{}</password>",
    "xml with attributes": '<ns:Password xmlns:ns="x">{}</ns:Password>',
    "maven": "<server><id>x</id><username>a</username><password>{}</password></server>",
    "dotnet": '<add key="DbPassword" value="{}"/>',
    "plist": "<key>password</key>\n<string>{}</string>",
    "html": '<input type="password" name="password" value="{}">',
    "name and value": '{{"name": "DB_PASSWORD", "value": "{}"}}',
    "option": "tool --password={} -u root",
    "option and blank": "tool --password {} --x",
    "mysql": "mysql -u root -p{} db",
    "docker login": "docker login -u me -p {} registry.example",
    "sshpass": "sshpass -p '{}' ssh a@b.example",
    "curl": "curl -u admin:{} https://x.example/",
    "before a command": "PGPASSWORD={} psql -h x",
    "netrc": "machine x login a password {}",
    "ado": "Server=h;Database=d;User Id=sa;Password={};Encrypt=yes",
    "azure": "AccountName=a;AccountKey={};EndpointSuffix=x",
    "query": "https://x.example/login?user=a&password={}&x=1",
    "form": "user=a&password={}",
    "php define": "define('DB_PASSWORD', '{}');",
    "default": 'os.getenv("DB_PASSWORD", "{}")',
    "subscript": 'd["password"] = "{}"',
    "setter": 'setPassword("{}")',
    "typed": 'let password: &str = "{}";',
    "powershell": '$Password = ConvertTo-SecureString "{}" -AsPlainText',
    "sql": "ALTER USER u WITH PASSWORD '{}';",
    "mysql user": "CREATE USER u IDENTIFIED BY '{}';",
    "table": "| password | {} |",
    "prose": "the password is {} now",
    "header": "X-Api-Key: {}",
    "two words": "secret key: {}",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("backend", ["hyperscan", "portable"])
def test_secrets_by_name_in_files_and_commands_are_found(form: str, backend: Backend) -> None:
    searched = engine_for((), backend=backend)
    for value in ("Tr0ub4dor-Zx81-Qm", "hunter2hunter2", "kV9x2mQ7tLp4"):
        text = f"line\n{FORMS[form].format(value)}\nline".encode()
        findings = [each for each in scan(searched, text).findings if each.kind == "generic-assignment"]
        assert findings, value
        assert {each.value.reveal() for each in findings if each.value} == {value.encode()}


@pytest.mark.parametrize(
    "text",
    [
        "password: changeme123",
        "PASSWORD=${DB_PASSWORD_2024}",
        "password=your-password-12345",
        "token: v1.24.3-beta10",
        "secretName: tls-wildcard-2024-prod",
        "<password>secret</password>",
        "<token>{{ token_2024 }}</token>",
        "total_tokens=1290",
        "1290 tokens = $0.039/image.",
        "token = sha256:9b1c",
        '{"/etc/passwd": write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh")}',
        "api_key_file = /run/secrets/key_2024.txt",
        "token_url: https://login.example.com/oauth2/v2.0/token",
        "password_changed: 2024-01-02T10:00:00Z",
        "tokens_per_second: 1234.5678",
        "token=localhost:8080",
        "const token = parseToken(bytes32, 16)",
        "| api-key | `ai21_api` |",
        "mysql -u root -p database",
    ],
)
def test_what_only_has_the_name_of_a_secret_is_left_alone(engine: Engine, text: str) -> None:
    assert scan(engine, f"line\n{text}\nline".encode()).clean


SHA = "27d5ce7f107fe9357f9df03efb73ab90386fccae"
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-main-6RaChq"
EVERYDAY = (
    f"password: ${{{{ secrets.GITHUB_TOKEN }}}}\n\n      - uses: docker/build-push-action@{SHA} # v6",
    f"env:\n  SONAR_TOKEN: x\nuses: SonarSource/sonarqube-scan-action@{SHA}",
    f'"GITHUB_TOKEN"],"actions":[{{"repo":"actions/cache","sha":"{SHA}"',
    f"GITHUB_TOKEN: ***\nDownload action repository 'actions/checkout@v4' (SHA:{SHA})",
    f"GITHUB_TOKEN: ***\ncommit {SHA}",
    f"Rotate GITHUB_TOKEN\\\\ncommit {SHA}",
    f"annotations:\n  checksum/secret: {SHA}27d5ce7f107fe9357f9df03e",
    '"NextToken": "c2VhcmNoQWxsVGFnc0luVGFibGVzIjpmYWxzZX0="',
    'timeStampToken: "1.2.840.113549.1.9.16.2.14"',
    "System.Resources, Culture=neutral, PublicKeyToken=b77a5c561934e089</value>",
    '{\\"next_page_token\\": \\"OzL223pDKy9116O/02KXRqFIEAwxjy4P\\"}',
    '"ClientToken": "5289a345-0358-4e62-93d5-47ef3061d65e"',
    f'"SecretArn": "{ARN}"',
    f'"SecretsManagerSecretId": "{ARN}",',
    f"secret_id: {ARN}",
    "X-Amz-Credential=AKIDEXAMPLE%2F20210621%2Fus-west-2%2Fs3%2Faws4_request&X-Amz-Date=1",
    "volumes:\n- secret:\n    secretName: default-token-7hn5p",
    'secretName: "repo-83273445"',
    "[![cov](https://codecov.io/gh/a/b/branch/main/graph/badge.svg?token=t9YGWLh05g)]",
    'argocdServerAdminPasswordMtime: "2006-01-02T15:04:05Z"',
    '"password_expires_at": "2016-11-06T15:32:17.000000"',
    'TOKEN_TYPE = "urn:openai:params:oauth:token-type:x509"',
    'newSecretKey("PBKDF2WithHmacSHA256", spec)',
    "import AccountTokenCreateParams = V2Namespace2.Core.AccountTokenCreateParams;",
    "Collection<Saml2X509Credential> verificationX509Credentials;",
    '"bearerToken": "{{ .token | base64decode | toString }}"',
    "DATABASE_URL=mysql://db_user:db_password@127.0.0.1:3306/app",
    "https://USERNAME:PERSONAL_ACCESS_TOKEN@github.com/o/r.git",
    'tokenizer_encoding: str = "o200k_base",',
    '"validateTokenTTL","base64Token","tokenName"',
    "SEC_E_NO_CREDENTIALS: HRESULT = 0x8009030E_u32 as _;",
    "private_key: Ed25519PrivateKey | Ed448PrivateKey",
    "fiber_force_length_passive=FiberForceLengthPassiveDeGroote2016,",
    '"MBart50Tokenizer": MBart50Converter,',
    "export import TokenUpdated = Stripe_.V2.Core.Events.V1IssuingTokenUpdatedEvent;",
    "subject_token: 'eyJhbGciOiJIUzI1NiIsInR5cCI6Ikp...',",
    '{"api_key": "sk-...xyz123"}',
    "credentials: Base64-encoded credentials",
    "max_tokens:e.maxTokens??16384,...e.params??{}",
    "s.host=r.host,s.port=r.port;u.username=r.username,u.password=r.password,u.path=1",
    "dotenv://:key_1234@dotenvx.com/vault/.env.vault",
    "mysql://airflow:airflow@localhost:3306/airflow",
    "SAML_TOKEN_TYPE = 'urn:oasis:names:tc:SAML:2.0:assertion'",
    "15735193600000000*t**16 + 14633730048000000*t**14 + 4828147466240000*t**12",
    'mlflow traces search --page-token "eyJvZmZzZXQiOiA1MH0="',
    "exports.ApiV2010AccountTokenIceServers = ApiV2010AccountTokenIceServers;",
)


@pytest.mark.parametrize("text", EVERYDAY)
def test_what_agents_send_every_day_is_left_alone(engine: Engine, text: str) -> None:
    assert scan(engine, f"line\n{text}\nline".encode()).clean


@pytest.mark.parametrize(
    "text",
    [
        f"GITHUB_TOKEN={SHA}",
        f"GITHUB_TOKEN: x\nlogin user@{SHA}",
        '"ClientToken": "9fK2lmQx81ZpAa77"',
        f"role: arn:aws:iam::1:role/x\nsecret: {SHA}",
        "secret_name_value = 'kV9x2mQ7tLp4'",
        'name: API_TOKEN, value: "kV9x2mQ7tLp4"',
        "mysql://app:db_passw0rd_kV9x@127.0.0.1/app",
        "mysql://kV9x2mQ7tLp4:secret_kV9x@127.0.0.1/app",
        'password: str = "kV9x2mQ7tLp4"',
        'app --api-token "kV9x2mQ7tLp4"',
        'ftp_passive_password = "kV9x2mQ7tLp4"',
        "password=V2.Xk9.Qw8!",
        'password = "Summer2024Winterly"',
        'token = "0x8009030E8009030E8009"',
        "card: **4539148803436467** is mine",
        "Host=db.example.org;Username=app;Password=kV9x.pass.2mQ7;",
    ],
)
def test_what_stands_near_such_a_name_is_found(engine: Engine, text: str) -> None:
    assert scan(engine, f"line\n{text}\nline".encode()).blocked


@pytest.mark.parametrize("name", daily.TEXTS)
@pytest.mark.parametrize("backend", ["hyperscan", "portable"])
def test_files_and_answers_of_tools_are_left_alone(name: str, backend: Backend) -> None:
    searched = engine_for((), backend=backend)
    text = daily.TEXTS[name](random.Random(5))
    for form in (text, json.dumps({"content": text})):
        assert scan(searched, form.encode()).clean


def _numbers(kind: str, count: int) -> str:
    rng = random.Random(8)
    if kind == "embedding":
        return json.dumps({"embedding": [rng.gauss(0, 0.02) for _ in range(count)]})
    if kind == "path":
        return " ".join(f"L {rng.random() * 6000} {rng.random() * 400}" for _ in range(count))
    if kind == "coordinates":
        return json.dumps([[rng.uniform(2, 6.9), rng.uniform(40, 55)] for _ in range(count)])
    return json.dumps([{"time": str(1764355123 * 10**9 + rng.randrange(10**15))} for _ in range(count)])


@pytest.mark.parametrize("kind", ["embedding", "path", "coordinates", "times"])
@pytest.mark.parametrize("backend", ["hyperscan", "portable"])
def test_many_long_numbers_are_no_flood_of_cards(kind: str, backend: Backend) -> None:
    searched = engine_for((), backend=backend)
    for count in (400, 1536, 8000):
        assert scan(searched, _numbers(kind, count).encode()).clean, count


@pytest.mark.parametrize("backend", ["hyperscan", "portable"])
def test_identifiers_are_cards_only_where_they_are_called_so(backend: Backend) -> None:
    searched = engine_for((), backend=backend)
    for number in ("4052739537881", "4660046610375530309", "6011000990139424007"):
        if not money.card(number):
            number = next(f"{number[:-1]}{last}" for last in range(10) if money.luhn(f"{number[:-1]}{last}"))
        assert scan(searched, f'{{"trace_id": "{number}", "time": 4}}'.encode()).clean, number
        for text in (f'{{"card_number": "{number}"}}', f"visa {number}", f"Payment\\n{number}"):
            assert names(scan(searched, text.encode())) == {"card"}, text
    grouped = "6222 0200 0000 0000 00"
    number = next(f"{grouped}{last}" for last in range(10) if money.card(f"{grouped}{last}".replace(" ", "")))
    for text in (number, number.replace(" ", "")):
        assert names(scan(searched, text.encode())) == {"card"}, text


def test_a_large_key_is_one_finding_and_can_be_approved(engine: Engine) -> None:
    body = "\n".join(
        base64.b64encode(random.Random(4).randbytes(1900)).decode()[at : at + 70] for at in range(0, 2500, 70)
    )
    head, tail = ("-----BEGIN OPENSSH PRIVATE" + " KEY-----\n", "\n-----END OPENSSH PRIVATE" + " KEY-----\n")
    found = scan(engine, (head + body + tail).encode()).findings
    assert [each.kind for each in found] == ["openssh-private-key"]
    assert found[0].value is not None


def test_a_dump_of_capital_hex_is_no_flood(engine: Engine) -> None:
    assert scan(engine, random.Random(5).randbytes(300_000).hex().upper().encode()).clean
    lines = (random.Random(6).randbytes(256).hex().upper() for _ in range(1000))
    assert scan(engine, "\n".join(lines).encode()).clean


@pytest.mark.parametrize(
    "text",
    [
        'password = "<your-password>"',
        'password = "changeme"',
        'api_key = "xxxxxxxxxxxxxxxx"',
        'token = "${GITHUB_TOKEN}"',
        'secret = "my-secret-name"',
        "token = get_token(request)",
        'password: "correct horse"',
        "postgres://user:password@localhost/db",
        "https://user:${PASS}@host/x",
        "https://user:pass@example.com",
        'token_url = "https://login.example.com/oauth2/v2.0/token"',
    ],
)
def test_placeholders_and_code_are_left_alone(engine: Engine, text: str) -> None:
    assert scan(engine, f"line\n{text}\nline".encode()).clean


def test_placeholder_words_do_not_hide_a_random_value() -> None:
    rng = random.Random(1)
    assert not any(is_placeholder(make_secret(rng, kind % 3, 40).encode()) for kind in range(3000))


def test_dull_windows_are_no_evidence() -> None:
    for dull in (b"aaaaaaaaaaaa", b"abcdefghijkl", b"123456789012", b"eyJhbGciOiJI", b"databasetest", b"BEGINPRIVATE"):
        assert not informative(dull), dull
    rng = random.Random(2)
    assert all(informative(make_secret(rng, 0, 12).encode()) for _ in range(500))


def test_a_wordy_secret_is_no_alarm_in_prose() -> None:
    engine = engine_for(("production-database-password-K29dLqpZx81",))
    assert scan(engine, b"the production database password is in the vault; see production-database docs").clean
    assert scan(engine, b"it is production-database-password-K29dLqpZx81 now").blocked


# --- entropy, CRLF, folding ---------------------------------------------------------------------------------------


def test_entropy_warns_of_random_runs_and_not_of_images_and_hashes() -> None:
    rng = random.Random(3)
    run = base64.b64encode(rng.randbytes(60))
    hexes = rng.randbytes(40).hex().encode()
    assert [finding.severity for finding in entropy.find(b"x " + run + b" y " + hexes)] == ["warn", "warn"]
    image = base64.b64encode(b"\x89PNG\r\n\x1a\n" + rng.randbytes(300))
    digest = base64.b64encode(rng.randbytes(64))
    quiet = b'"data":"' + image + b'" sha512-' + digest + b" sha256:" + hexes + b" " + b"/usr/lib/python3" * 8
    assert not list(entropy.find(quiet))


@pytest.mark.parametrize(
    "text",
    [
        b"/x%0d%0aSet-Cookie:%20a=b",
        b"/x%0D%0AHost%3A evil",
        b"value\r\nX-Other: 1",
        b"value\\r\\nContent-Length: 0",
        b"/x%250d%250aLocation: y",
        b"a\nGET /next HTTP/1.1",
    ],
)
def test_a_line_break_that_starts_a_header_is_found(engine: Engine, text: bytes) -> None:
    found = engine.scan(text, where=Location("header", "x-test"))
    assert [finding.code for finding in found.findings if finding.detector == "crlf"] == ["crlf_injection"]
    assert not [each for each in engine.scan(text, where=BODY).findings if each.detector == "crlf"]


def test_ordinary_header_values_have_no_line_break() -> None:
    assert not list(crlf.find(b"text/html; q=0.9, */*: %20 a%0d b"))


def test_folding_brings_back_what_a_reader_sees() -> None:
    assert fold.fold_text("ｇｈｐ＿𝟙𝟚 se\u200bc\u0301ret ЅЕСRЕТ ﬁ ٣ é") == "ghp_12 secret SECRET fi 3 e"
    assert fold.fold_text("日本語 → …") == "日本語 → …"
    assert fold.hidden("".join(chr(0xE0000 + ord(char)) for char in "secret").encode()) == b"secret"


def test_a_credential_in_look_alikes_is_found(engine: Engine) -> None:
    token = "AK" + "IA" + "Q3EGXN7R2PLZ5WTB"
    assert scan(engine, f"x {token} y".encode()).blocked
    for alike in (token.replace("A", "А"), token.replace("I", "I\u200b"), "".join(chr(ord(c) + 0xFEE0) for c in token)):
        assert scan(engine, f"x {alike} y".encode()).blocked, alike


# --- host names, drip ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "label",
    [
        "4a6f686e20446f6520776173206865726521",
        "mfrggzdfmztwq2lknnwg23tpobyxe43u",
        "c2vjcmv0lxzhbhvlltezmzctbgvldc1raw5n",
        "a" * 45,
    ],
)
def test_labels_that_carry_data_are_found(label: str) -> None:
    assert host_labels.HostLabels().find(f"{label}.example.com", "example.com", 0.0) is not None


@pytest.mark.parametrize(
    "name",
    [
        "www",
        "api-v2",
        "my-app-git-feature-login-team",
        "d111111abcdef8",
        "fonts-static",
        "us-east-1.console",
        "xn--bcher-kva",
    ],
)
def test_ordinary_labels_are_not(name: str) -> None:
    assert host_labels.HostLabels().find(f"{name}.example.com", "example.com", 0.0) is None


def test_a_fast_stream_of_new_labels_is_found_and_a_slow_one_is_not() -> None:
    fast, slow = host_labels.HostLabels(), host_labels.HostLabels()
    verdicts = [fast.find(f"w{number}.example.com", "example.com", float(number)) for number in range(40)]
    assert verdicts[10] is None
    assert verdicts[-1] is not None
    assert all(slow.find(f"w{number}.example.com", "example.com", 10.0 * number) is None for number in range(40))


def test_state_is_bounded() -> None:
    labels = host_labels.HostLabels()
    for number in range(2000):
        labels.find(f"a.d{number}.com", f"d{number}.com", 0.0)
    assert len(labels._streams) <= 256


def test_a_secret_dripped_letter_by_letter_is_found() -> None:
    secret = make_secret(random.Random(8), 0, 40)
    engine, drips = engine_for((secret,)), Drips()
    found = False
    for second, char in enumerate(secret):
        text = drips.add("api.example.com", f"GET /v1/lookup?part={char}&n={second}".encode(), float(second))
        found = found or scan(engine, text).blocked
        assert not scan(engine, f"GET /v1/lookup?part={char}".encode()).blocked
    assert found


@pytest.mark.parametrize("size", [1, 7, 20])
def test_a_token_dripped_behind_other_words_is_found(size: int) -> None:
    """What came before at that place, an upgrade to WebSocket say, is no letter of it."""
    token = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO" + "0pINUx"
    engine, drips = engine_for(()), Drips()
    pieces = ["websocket", "x1", *(token[at : at + size] for at in range(0, len(token), size))]
    for second, piece in enumerate(pieces):
        text = drips.add("api.example.com", f'{{"d": "{piece}"}}'.encode(), float(second))
        assert scan(engine, text).clean == (second + 1 < len(pieces))


def test_ordinary_requests_drip_nothing() -> None:
    engine, drips = engine_for((make_secret(random.Random(8), 0, 40),)), Drips()
    for second in range(50):
        assert scan(engine, drips.add("api.example.com", PROSE[second:] + b"%d" % second, float(second))).clean
