"""Which IP addresses a name may lead to. Pure.

Allowed is public unicast, also after taking out an IPv4 address that an IPv6 one carries. Everything else (private,
loopback, link-local, shared, multicast, metadata, reserved) needs `allow_private`.
"""

import ipaddress

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_REFUSED_V4 = (
    ipaddress.IPv4Network("192.88.99.0/24"),  # RFC 7526: deprecated 6to4 relay anycast
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's metadata and DNS, in a public range
)
_REFUSED_V6 = (
    ipaddress.IPv6Network("2001:db8::/32"),  # RFC 3849: documentation
    ipaddress.IPv6Network("3fff::/20"),  # RFC 9637: documentation
    ipaddress.IPv6Network("2001::/23"),  # RFC 2928: protocol assignments (Teredo is looked into below)
)
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # RFC 5214 6.1: interface identifiers that carry an IPv4 address


def why_private(address: str) -> str | None:
    """Why `address` is not public, as a short text; None if it is."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "not an address"
    return _why(parsed)


def _why(address: Address) -> str | None:
    if isinstance(address, ipaddress.IPv4Address):
        return _why_v4(address)
    carried = _carried(address)
    if carried is not None:
        inside = _why(carried)
        return f"it carries {carried}, {inside}" if inside else None
    kind = _kind(address)
    if kind:
        return kind
    if address not in _GLOBAL_V6 or not address.is_global:
        return "a reserved address"
    if any(address in network for network in _REFUSED_V6):
        return "a reserved address"
    return None


def _why_v4(address: ipaddress.IPv4Address) -> str | None:
    if address in ipaddress.IPv4Network("100.64.0.0/10"):
        return "a carrier's shared address"
    if any(address in network for network in _REFUSED_V4):
        return "a reserved address"
    return _kind(address) or (None if address.is_global else "a reserved address")


def _kind(address: Address) -> str | None:
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address (where clouds keep their metadata)"
    if address.is_multicast:
        return "a multicast address"
    if address.is_private:
        return "a private address"
    return None


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside: v4-mapped, NAT64, 6to4, Teredo's client, ISATAP."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
