"""TLS on both sides: leaf certificates of the bottle's CA for the agent, verified connections to the upstream.

Everything is in memory. The agent's side offers what current clients need and nothing older than TLS 1.2; the upstream
is always verified against the name that was asked for.
"""

import datetime
import ipaddress
import os
import ssl
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any, cast

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto

from sidecar.secret import Secret

BACKDATE = datetime.timedelta(days=1)
"""Clocks in a sandbox or VM may be behind after a suspend."""
LEAF_LIFETIME = datetime.timedelta(days=397)
"""The longest that Apple's clients accept (support.apple.com/en-us/102028: 398 days)."""
RENEW_BEFORE = datetime.timedelta(days=2)
MAX_LEAVES = 256
ALPN_HTTP = (b"h2", b"http/1.1")
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems keep their trusted authorities (Debian, Fedora, SUSE, Alpine and macOS)."""
_lib: Any = cast(Any, SSL)._lib


def system_bundle() -> Path:
    """The authorities that this host trusts, a company's own included; certifi's where the system has none."""
    for name in (os.environ.get("SSL_CERT_FILE") or "", ssl.get_default_verify_paths().cafile or "", *_BUNDLES):
        if name and Path(name).is_file():
            return Path(name)
    return Path(certifi.where())


@cache
def system_authorities() -> list[crypto.X509]:
    """Parsed once: the zygote calls this before it forks, so that all sidecars share the memory."""
    return _certificates(system_bundle().read_text("utf-8", "replace"))


def _certificates(pem: str) -> list[crypto.X509]:
    end = "-----END CERTIFICATE-----"
    blocks = [block + end for block in pem.split(end) if "-----BEGIN CERTIFICATE-----" in block]
    return [
        crypto.load_certificate(crypto.FILETYPE_PEM, block[block.index("-----BEGIN") :].encode()) for block in blocks
    ]


def _select_alpn(_: SSL.Connection, offered: list[bytes]) -> Any:
    for protocol in ALPN_HTTP:
        if protocol in offered:
            return protocol
    return SSL.NO_OVERLAPPING_PROTOCOLS


class Leaves:
    """Server-side TLS contexts, one a name, signed by the bottle's CA on first use."""

    def __init__(self, ca_cert_pem: str, ca_key_pem: Secret) -> None:
        self._ca = x509.load_pem_x509_certificate(ca_cert_pem.encode())
        key = serialization.load_pem_private_key(ca_key_pem.reveal().encode(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the bottle's CA must have an elliptic-curve key")
        self._ca_key = key
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._contexts: OrderedDict[str, tuple[datetime.datetime, SSL.Context]] = OrderedDict()

    def connection(self, name: str) -> SSL.Connection:
        """A TLS server for one client that asked for `name`."""
        now = datetime.datetime.now(datetime.UTC)
        until, context = self._contexts.get(name, (now, None))
        if context is None or until - RENEW_BEFORE < now:
            until, context = self._make(name, now)
            self._contexts[name] = (until, context)
            if len(self._contexts) > MAX_LEAVES:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(name)
        connection = SSL.Connection(context)
        connection.set_accept_state()
        return connection

    def certificate(self, name: str, now: datetime.datetime) -> x509.Certificate:
        """A leaf for `name`, valid from a day ago."""
        alternative: x509.GeneralName
        try:
            alternative = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name)
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)] if len(name) < 64 else []
        identifier = self._ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            x509.CertificateBuilder()
            .issuer_name(self._ca.subject)
            .subject_name(x509.Name(subject))
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(min(now + LEAF_LIFETIME - BACKDATE, self._ca.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=not subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
            .sign(self._ca_key, hashes.SHA256())
        )

    def _make(self, name: str, now: datetime.datetime) -> tuple[datetime.datetime, SSL.Context]:
        leaf = self.certificate(name, now)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_mode(_lib.SSL_MODE_RELEASE_BUFFERS)
        context.set_session_id(os.urandom(16))
        context.use_certificate(leaf)
        context.use_privatekey(self._key)
        context.set_alpn_select_callback(_select_alpn)
        return leaf.not_valid_after_utc, context


class Upstreams:
    """Client-side TLS: one verifying context for all upstreams, host and protocols set on each connection."""

    def __init__(self, extra_ca: tuple[str, ...] = ()) -> None:
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        self._context.set_mode(_lib.SSL_MODE_RELEASE_BUFFERS)
        self._context.set_verify(SSL.VERIFY_PEER)
        store = self._context.get_cert_store()
        if store is None:
            raise RuntimeError("OpenSSL gave no certificate store")
        for authority in system_authorities():
            store.add_cert(authority)
        for pem in extra_ca:
            for authority in _certificates(pem):
                store.add_cert(authority)

    def connection(self, name: str, alpn: tuple[bytes, ...]) -> SSL.Connection:
        """A TLS client that accepts only a certificate for `name`."""
        connection = SSL.Connection(self._context)
        try:
            ipaddress.ip_address(name)
        except ValueError:
            connection.set_tlsext_host_name(name.encode("ascii"))
            _verify_host(connection, name)
        else:
            _verify_address(connection, ipaddress.ip_address(name).packed)
        if alpn:
            connection.set_alpn_protos(list(alpn))
        connection.set_connect_state()
        return connection


def _verify_host(connection: SSL.Connection, name: str) -> None:
    param = _lib.SSL_get0_param(cast(Any, connection)._ssl)
    # the subject's common name never counts (RFC 9525 6.3), and a * covers one whole label
    _lib.X509_VERIFY_PARAM_set_hostflags(
        param, _lib.X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | getattr(_lib, "X509_CHECK_FLAG_NEVER_CHECK_SUBJECT", 0)
    )
    encoded = name.encode("ascii")
    if _lib.X509_VERIFY_PARAM_set1_host(param, encoded, len(encoded)) != 1:
        raise ValueError("OpenSSL did not take the name to verify")


def _verify_address(connection: SSL.Connection, packed: bytes) -> None:
    param = _lib.SSL_get0_param(cast(Any, connection)._ssl)
    if _lib.X509_VERIFY_PARAM_set1_ip(param, packed, len(packed)) != 1:
        raise ValueError("OpenSSL did not take the address to verify")
