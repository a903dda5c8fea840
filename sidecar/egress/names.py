"""Host names as they stand in requests: parsed strictly, brought into one form, compared. Pure."""

import ipaddress
import re

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/@?#\[\]\\%,]+)(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")


def canonical_host(host: str) -> str | None:
    """`host` in lower case, IDNA-encoded, an address in its shortest form; None if it is no host name.

    A trailing dot is refused, not removed: to a server it may be another name.
    """
    text = host.strip().lower()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if ":" in text:
        try:
            return str(ipaddress.IPv6Address(text)) if "%" not in text else None
        except ValueError:
            return None
    if not text.isascii():
        try:
            text = text.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    return text if len(text) <= 253 and _NAME.fullmatch(text) else None


def split_authority(authority: str, default_port: int) -> tuple[str, int] | None:
    """Canonical host and port of `host[:port]`; None where it is anything else.

    Only ASCII: on the wire other bytes are what each server takes them for.
    """
    match = _AUTHORITY.fullmatch(authority) if authority.isascii() else None
    if match is None:
        return None
    host = canonical_host(match["host"])
    port = int(match["port"]) if match["port"] else default_port
    return (host, port) if host is not None and 0 < port < 65536 else None


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
