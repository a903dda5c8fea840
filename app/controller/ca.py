"""The certificate authority of one bottle: made at its launch, trusted inside that bottle alone.

Its key exists only in memory (the controller's while launching, the sidecar's, and the session holder's for a
restarted sidecar). This module writes nothing.
"""

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.backends.base import FileIn
from sidecar.secret import Secret

BACKDATED = datetime.timedelta(days=1)
"""backends.md: a bottle's clock may be behind."""
VALID = datetime.timedelta(days=825)
"""The longest that clients of every vendor accept (Apple's limit for private authorities)."""
SUBJECT = x509.Name(
    [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "carboy"),
        x509.NameAttribute(NameOID.COMMON_NAME, "carboy bottle CA"),
    ]
)
SUBJECT_HASH = "6b4cf4cf"
"""OpenSSL's hash of SUBJECT (`openssl x509 -hash`): the file name it looks for in a folder of authorities. It is the
same in every bottle because the subject is."""

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Debian's, Ubuntu's and Arch's system store, and the path that every variable names."""
_STORES = (
    BUNDLE,
    f"/etc/ssl/certs/{SUBJECT_HASH}.0",
    "/etc/ssl/cert.pem",  # Alpine, and what LibreSSL reads
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora and its kin
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
)
_FILE_VARIABLES = (
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "DENO_CERT",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "NIX_SSL_CERT_FILE",
    "NPM_CONFIG_CAFILE",
)
NO_PROXY = "localhost,127.0.0.1,::1"
"""Exactly the bottle's own loopback: agents talk to servers of their own there (backends.md)."""


@dataclass(frozen=True)
class Authority:
    """One bottle's authority as PEM."""

    certificate: str
    key: Secret


def make(now: datetime.datetime | None = None) -> Authority:
    """A fresh authority: EC P-256, may sign servers and no further authority."""
    moment = now or datetime.datetime.now(datetime.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(SUBJECT)
        .issuer_name(SUBJECT)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - BACKDATED)
        .not_valid_after(moment + VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return Authority(certificate.public_bytes(serialization.Encoding.PEM).decode(), Secret(pem))


def files(certificate: str) -> tuple[FileIn, ...]:
    """The bottle's trust store: its own authority and no other, since nothing else can answer it."""
    return tuple(FileIn(path, certificate.encode()) for path in _STORES)


def variables(port: int) -> dict[str, str]:
    """What points every tool at the authority and at the proxy. Lower and upper case: curl reads one, others both."""
    proxy = f"http://127.0.0.1:{port}"
    env: dict[str, str] = dict.fromkeys(map(str, _FILE_VARIABLES), BUNDLE)
    for name, value in (("HTTP_PROXY", proxy), ("HTTPS_PROXY", proxy), ("NO_PROXY", NO_PROXY)):
        env[name] = env[name.lower()] = value
    return env | {"NODE_USE_ENV_PROXY": "1"}  # Node's own fetch ignores the proxy variables otherwise
