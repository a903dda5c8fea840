"""Credentials made from what vendors document about their form, or by the tools that make real ones; and near misses.

Written apart from the rules in sidecar/dlp/patterns: nothing here is read off them. Every value is random.
"""

import base64
import binascii
import hashlib
import hmac
import json
import random
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from mnemonic import Mnemonic

Maker = Callable[[random.Random], str]
Part = str | tuple[str, int] | Maker
HEX = "0123456789abcdef"
LOW = string.ascii_lowercase + string.digits
UP = string.ascii_uppercase + string.digits
B62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
ALNUM = string.ascii_letters + string.digits
URL = ALNUM + "-_"


def some(rng: random.Random, alphabet: str, size: int) -> str:
    return "".join(rng.choices(alphabet, k=size))


@dataclass(frozen=True)
class Form:
    """Literals, (alphabet, length) to be filled, and what is made another way."""

    parts: tuple[Part, ...]

    def __call__(self, rng: random.Random) -> str:
        return "".join(_filled(part, rng) for part in self.parts)


def _filled(part: Part, rng: random.Random) -> str:
    if isinstance(part, str):
        return part
    return some(rng, *part) if isinstance(part, tuple) else part(rng)


def form(*parts: Part) -> Form:
    return Form(parts)


def uuid4(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def in_base64(size: int) -> Maker:
    return lambda rng: base64.b64encode(rng.randbytes(size)).decode()


def either(*words: str) -> Maker:
    return lambda rng: rng.choice(words)


def _base62(number: int, size: int) -> str:
    out = ""
    while number:
        number, digit = divmod(number, 62)
        out = B62[digit] + out
    return out.rjust(size, "0")


def checked(prefix: str) -> Maker:
    """GitHub and npm: thirty characters and six of their CRC-32."""

    def make(rng: random.Random) -> str:
        body = some(rng, ALNUM, 30)
        return prefix + body + _base62(binascii.crc32(body.encode()), 6)

    return make


def _wrong(prefix: str) -> Maker:
    def make(rng: random.Random) -> str:
        body = some(rng, ALNUM, 30)
        return prefix + body + _base62((binascii.crc32(body.encode()) + 1) % 2**32, 6)

    return make


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(rng: random.Random) -> str:
    header = _url64(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    body = _url64(json.dumps({"sub": some(rng, HEX, 12), "iat": rng.randint(1_700_000_000, 1_800_000_000)}).encode())
    signed = hmac.new(rng.randbytes(32), f"{header}.{body}".encode(), hashlib.sha256).digest()
    return f"{header}.{body}.{_url64(signed)}"


def not_jwt(rng: random.Random) -> str:
    return "eyJ" + some(rng, URL, 30) + ".eyJ" + some(rng, URL, 40)


def pypi(rng: random.Random) -> str:
    body = b"\x02\x01\x08pypi.org\x02\x24" + str(uuid.UUID(int=rng.getrandbits(128))).encode()
    return "pypi-" + _url64(body + b"\x00\x00\x06\x20" + rng.randbytes(32))


def grafana(rng: random.Random) -> str:
    base = "glsa_" + some(rng, ALNUM, 32)
    return f"{base}_{binascii.crc32(base.encode()).to_bytes(4, 'little').hex()}"


def card(rng: random.Random) -> str:
    digits = [4, *(rng.randrange(10) for _ in range(14))]
    total = sum(d if i % 2 else (2 * d - 9 if d > 4 else 2 * d) for i, d in enumerate(digits))
    return "".join(map(str, digits)) + str(-total % 10)


def not_card(rng: random.Random) -> str:
    good = card(rng)
    return good[:-1] + str((int(good[-1]) + 1) % 10)


def iban(rng: random.Random) -> str:
    account = some(rng, string.digits, 18)
    check = 98 - int(account + "131400") % 97  # DE00 at the end, letters as numbers
    return f"DE{check:02d}{account}"


def not_iban(rng: random.Random) -> str:
    good = iban(rng)
    return good[:2] + f"{(int(good[2:4]) + 1) % 97:02d}" + good[4:]


def pem(rng: random.Random) -> str:
    kinds = (
        lambda: ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate,
        lambda: rsa.generate_private_key(65537, 2048),
    )
    key = rng.choice(kinds)()
    way = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, way, serialization.NoEncryption()).decode()


def openssh(rng: random.Random) -> str:
    key = ed25519.Ed25519PrivateKey.generate()
    way = serialization.PrivateFormat.OpenSSH
    return key.private_bytes(serialization.Encoding.PEM, way, serialization.NoEncryption()).decode()


def phrase(rng: random.Random) -> str:
    return Mnemonic("english").to_mnemonic(rng.randbytes(rng.choice((16, 32))))


def not_phrase(rng: random.Random) -> str:
    words = phrase(rng).split()
    return " ".join(reversed(words)) if len(words) == 24 else " ".join(words[:11])


DOCUMENTED: dict[str, Maker] = {
    "github-personal-token": checked("ghp_"),
    "github-oauth-token": checked("gho_"),
    "github-user-token": checked("ghu_"),
    "github-fine-grained-token": form("github_pat_11", (UP, 20), "_", (ALNUM, 59)),
    "npm-token": checked("npm_"),
    "gitlab-access-token": form("glpat-", (URL, 20)),
    "gitlab-deploy-token": form("gldt-", (URL, 20)),
    "aws-access-key-id": form("AKIA", (string.ascii_uppercase + "234567", 16)),
    "aws-secret-access-key": form("aws_secret_access_key = ", (ALNUM + "/+", 40)),
    "google-api-key": form("AIza", (URL, 35)),
    "google-oauth-client-secret": form("GOCSPX-", (URL, 28)),
    "anthropic-api-key": form("sk-ant-api03-", (URL, 93), "AA"),
    "anthropic-admin-key": form("sk-ant-admin01-", (URL, 93), "AA"),
    "openai-api-key": form("sk-proj-", (URL, 74), "T3BlbkFJ", (URL, 74)),
    "openai-api-key-legacy": form("sk-", (ALNUM, 20), "T3BlbkFJ", (ALNUM, 20)),
    "huggingface-token": form("hf_", (string.ascii_letters, 34)),
    "groq-api-key": form("gsk_", (ALNUM, 52)),
    "xai-api-key": form("xai-", (ALNUM, 80)),
    "openrouter-api-key": form("sk-or-v1-", (HEX, 64)),
    "replicate-api-token": form("r8_", (ALNUM, 37)),
    "perplexity-api-key": form("pplx-", (ALNUM, 48)),
    "slack-bot-token": form("xoxb-", ("123456789", 12), "-", ("123456789", 13), "-", (ALNUM, 24)),
    "slack-webhook": form("https://hooks.slack.com/services/T", (UP, 10), "/B", (UP, 10), "/", (ALNUM, 24)),
    "telegram-bot-token": form(("123456789", 10), ":AA", (URL, 33)),
    "discord-webhook": form("https://discord.com/api/webhooks/", ("123456789", 19), "/", (URL, 68)),
    "stripe-secret-key": form("sk_live_", (ALNUM, 24)),
    "stripe-restricted-key": form("rk_live_", (ALNUM, 24)),
    "sendgrid-api-key": form("SG.", (URL, 22), ".", (URL, 43)),
    "twilio-api-key": form("SK", (HEX, 32)),
    "mailchimp-api-key": form("mailchimp key ", (HEX, 32), "-us12"),
    "digitalocean-token": form("dop_v1_", (HEX, 64)),
    "databricks-token": form("dapi", (HEX, 32)),
    "shopify-token": form("shpat_", (HEX, 32)),
    "linear-api-key": form("lin_api_", (ALNUM, 40)),
    "notion-token": form("ntn_", (string.digits, 11), (ALNUM, 35)),
    "figma-token": form("figd_", (URL, 40)),
    "postman-api-key": form("PMAK-", (HEX, 24), "-", (HEX, 34)),
    "grafana-service-account": grafana,
    "newrelic-user-key": form("NRAK-", (UP, 27)),
    "dynatrace-token": form("dt0c01.", (UP, 24), ".", (UP, 64)),
    "pulumi-token": form("pul-", (HEX, 40)),
    "doppler-token": form("dp.pt.", (ALNUM, 43)),
    "vault-token": form("hvs.", (URL, 95)),
    "tailscale-key": form("tskey-auth-", (ALNUM, 12), "CNTRL-", (ALNUM, 32)),
    "rubygems-key": form("rubygems_", (HEX, 48)),
    "crates-io-token": form("cio", (ALNUM, 32)),
    "docker-token": form("dckr_pat_", (URL, 27)),
    "atlassian-api-token": form("ATATT3xFfGF0", (URL, 171), "=", (string.hexdigits[:10] + "ABCDEF", 8)),
    "supabase-access-token": form("sbp_", (HEX, 40)),
    "planetscale-token": form("pscale_tkn_", (URL, 43)),
    "fly-token": lambda rng: "fm2_" + base64.b64encode(rng.randbytes(96)).decode(),
    "pypi-token": pypi,
    "postgres-url": form("postgresql://app:", (ALNUM, 18), "@db.internal.example:5432/prod"),
    "card": card,
    "iban": iban,
    "jwt": jwt,
}

MADE: dict[str, Maker] = {
    "pem-private-key": pem,
    "openssh-private-key": openssh,
    "seed-phrase": phrase,
}

NEAR: dict[str, Maker] = {
    "github-personal-token": _wrong("ghp_"),
    "github-oauth-token": _wrong("gho_"),
    "npm-token": _wrong("npm_"),
    "github-fine-grained-token": form("github_pat_11", (UP, 20), (ALNUM, 40)),
    "aws-access-key-id": form("AKIA", (string.ascii_uppercase, 12)),
    "aws-secret-access-key": form("sha1 = ", (ALNUM + "/+", 40)),
    "google-api-key": form("AIza", (URL, 20)),
    "anthropic-api-key": form("sk-ant-", (LOW, 8)),
    "openai-api-key": form("sk-proj-", (LOW, 6)),
    "openai-api-key-legacy": form("sk-", (string.ascii_lowercase, 12)),
    "huggingface-token": form("hf_", (string.ascii_lowercase, 12)),
    "stripe-secret-key": form("sk_live_", (LOW, 6)),
    "twilio-api-key": form("sk", (HEX, 32)),
    "slack-bot-token": form("xoxb-", (string.digits, 4)),
    "telegram-bot-token": form((string.digits, 10), ":", (ALNUM, 12)),
    "sendgrid-api-key": form("SG.", (URL, 22)),
    "digitalocean-token": form("dop_v1_", (HEX, 20)),
    "databricks-token": form("dap", (HEX, 32)),
    "crates-io-token": form("cio", (string.ascii_lowercase, 12)),
    "pypi-token": form("pypi-", (LOW, 20)),
    "card": not_card,
    "iban": not_iban,
    "jwt": not_jwt,
    "postgres-url": form("postgresql://app@db.internal.example:5432/", (LOW, 8)),
}
