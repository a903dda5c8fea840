"""A bottle's authority, tried with OpenSSL itself."""

import contextlib
import datetime
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import crypto

from app.controller import ca


def _leaf(authority: ca.Authority, name: str) -> bytes:
    """Certificate and key for `name`, signed by the authority, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    signer = serialization.load_pem_private_key(authority.key.reveal().encode(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    left, right = socket.socketpair()

    def serve() -> None:
        with contextlib.suppress(ssl.SSLError, OSError):  # a client that does not trust it says so
            server.wrap_socket(left, server_side=True).close()

    with left, right:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with client.wrap_socket(right, server_hostname=name) as done:
            assert done.version() == "TLSv1.3"
        thread.join(5)


def test_a_client_trusts_what_it_signed_and_only_that(tmp_path: Path) -> None:
    authority, other = ca.make(), ca.make()
    (tmp_path / "leaf.pem").write_bytes(_leaf(authority, "api.example.com"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "leaf.pem")
    trusting = ssl.create_default_context(cadata=authority.certificate)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    _handshake(server, trusting, "api.example.com")
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(server, ssl.create_default_context(cadata=other.certificate), "api.example.com")


def test_the_folder_name_is_the_hash_that_openssl_looks_for(tmp_path: Path) -> None:
    authority = ca.make()
    loaded = crypto.load_certificate(crypto.FILETYPE_PEM, authority.certificate.encode())
    assert f"{loaded.get_subject().hash():08x}" == ca.SUBJECT_HASH
    folder = tmp_path / "certs"
    folder.mkdir()
    for file in ca.files(authority.certificate):
        if file.target.startswith("/etc/ssl/certs/") and file.target.endswith(".0"):
            (folder / Path(file.target).name).write_bytes(file.content)
    (tmp_path / "leaf.pem").write_bytes(_leaf(authority, "x.test"))
    done = subprocess.run(
        ["openssl", "verify", "-CApath", folder, tmp_path / "leaf.pem"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_it_is_backdated_and_may_sign_no_further_authority() -> None:
    now = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
    certificate = x509.load_pem_x509_certificate(ca.make(now).certificate.encode())
    assert certificate.not_valid_before_utc == now - datetime.timedelta(days=1)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca
    assert constraints.value.path_length == 0


def test_the_key_does_not_show() -> None:
    authority = ca.make()
    assert "PRIVATE" not in repr(authority)
    assert "PRIVATE" not in authority.certificate


def test_variables() -> None:
    env = ca.variables(7878)
    assert env["HTTPS_PROXY"] == env["https_proxy"] == env["HTTP_PROXY"] == env["http_proxy"] == "http://127.0.0.1:7878"
    assert env["NO_PROXY"] == env["no_proxy"] == "localhost,127.0.0.1,::1"
    for name in ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO",
                 "PIP_CERT", "DENO_CERT"):  # fmt: skip
        assert env[name] == ca.BUNDLE
    assert ca.BUNDLE in {file.target for file in ca.files("x")}
