"""Attacks over sockets of every kind. See `kit`."""

# ruff: noqa: S104, S108 - it attacks the very places, modes and addresses that these rules are about

import os
import socket
import struct

from kit import Untestable, probe

TOKEN = b"carboy-victim-service"


def speaks(family, address, kind=socket.SOCK_STREAM, protocol=0):
    with socket.socket(family, kind, protocol) as attempt:
        attempt.settimeout(2)
        attempt.connect(address)
        attempt.send(b"hello\n")
        return attempt.recv(64).startswith(TOKEN)


@probe("network.loopback_tcp4")
def _(facts):
    return speaks(socket.AF_INET, ("127.0.0.1", facts["tcp4"]))


@probe("network.loopback_tcp4_other_names")
def _(facts):
    for address in ("127.0.0.2", "127.1.2.3", "0.0.0.0"):
        try:
            if speaks(socket.AF_INET, (address, facts["tcp4"])):
                return True
        except OSError:
            continue
    return False


@probe("network.loopback_tcp6")
def _(facts):
    if not facts["tcp6"]:
        raise Untestable("this host has no IPv6")
    return speaks(socket.AF_INET6, ("::1", facts["tcp6"]))


@probe("network.mapped_tcp6")
def _(facts):
    return speaks(socket.AF_INET6, ("::ffff:127.0.0.1", facts["tcp4"]))


@probe("network.host_addresses")
def _(facts):
    for address in facts["addresses"]:
        try:
            if speaks(socket.AF_INET, (address, facts["tcp4"])):
                return True
        except OSError:
            continue
    if not facts["addresses"]:
        raise Untestable("the host has no address but loopback")
    return False


@probe("network.loopback_udp4")
def _(facts):
    return speaks(socket.AF_INET, ("127.0.0.1", facts["udp4"]), socket.SOCK_DGRAM)


@probe("network.loopback_udp6")
def _(facts):
    if not facts["udp6"]:
        raise Untestable("this host has no IPv6")
    return speaks(socket.AF_INET6, ("::1", facts["udp6"]), socket.SOCK_DGRAM)


@probe("network.mptcp")
def _(facts):
    return speaks(socket.AF_INET, ("127.0.0.1", facts["tcp4"]), socket.SOCK_STREAM, 262)


@probe("network.tcp_fast_open")
def _(facts):
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", 2, 0))
        attempt.sendto(b"hello\n", 0x20000000, ("127.0.0.1", facts["tcp4"]))
        return attempt.recv(64).startswith(TOKEN)


@probe("network.sctp_dccp_udplite")
def _(facts):
    for kind, protocol in ((socket.SOCK_STREAM, 132), (6, 33), (socket.SOCK_DGRAM, 136)):
        try:
            with socket.socket(socket.AF_INET, kind, protocol) as attempt:
                attempt.settimeout(1)
                attempt.connect(("127.0.0.1", facts["udp4"]))
                attempt.send(b"hello\n")
                if attempt.recv(64).startswith(TOKEN):
                    return True
        except OSError:
            continue
    return False


def reached(address, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, kind) as attempt:
        attempt.settimeout(2)
        attempt.connect(address)  # UDP: works where there is a route
        return True


@probe("network.outside_tcp")
def _(facts):
    return reached(("1.1.1.1", 443))


@probe("network.outside_tcp6")
def _(facts):
    return reached(("2606:4700:4700::1111", 443))


@probe("network.route_for_dns")
def _(facts):
    return reached(("8.8.8.8", 53), socket.SOCK_DGRAM)


@probe("network.route_for_quic")
def _(facts):
    return reached(("1.1.1.1", 443), socket.SOCK_DGRAM)


@probe("network.metadata")
def _(facts):
    return reached(("169.254.169.254", 80))


@probe("network.metadata_route")
def _(facts):
    return reached(("169.254.169.254", 80), socket.SOCK_DGRAM)


@probe("network.local_resolvers")
def _(facts):
    question = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\x07example\x03com\0" + struct.pack(">HH", 1, 1)
    for address in ("127.0.0.53", "127.0.0.11", "127.0.0.1"):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attempt:
                attempt.settimeout(1)
                attempt.connect((address, 53))
                attempt.send(question)
                if attempt.recv(512)[:2] == question[:2]:
                    return True
        except OSError:
            continue
    return False


@probe("network.name_resolution")
def _(facts):
    return bool(socket.getaddrinfo("example.com", 443))


@probe("network.interfaces")
def _(facts):
    return [name for _, name in socket.if_nameindex()] != ["lo"]


@probe("network.sees_listeners")
def _(facts):
    wanted = ":{:04X}".format(facts["tcp4"])
    with open("/proc/net/tcp") as stream:
        return any(wanted in line.split()[1] for line in stream.readlines()[1:])


@probe("network.sees_unix_sockets")
def _(facts):
    with open("/proc/net/unix") as stream:
        return facts["abstract"] in stream.read()


def opens(family, kind, protocol=0):
    with socket.socket(family, kind, protocol):
        return True


@probe("network.packet_socket")
def _(facts):
    return opens(socket.AF_PACKET, socket.SOCK_RAW, 0x0300)


@probe("network.raw_socket")
def _(facts):
    return opens(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


@probe("network.raw_socket6")
def _(facts):
    return opens(socket.AF_INET6, socket.SOCK_RAW, 58)


@probe("network.vsock")
def _(facts):
    return opens(40, socket.SOCK_STREAM)


@probe("network.alg")
def _(facts):
    return opens(38, socket.SOCK_SEQPACKET)


@probe("network.netlink_families")
def _(facts):
    for protocol in (2, 4, 6, 7, 8, 9, 10, 11, 12, 15, 16, 20):
        try:
            if opens(socket.AF_NETLINK, socket.SOCK_RAW, protocol):
                return True
        except OSError:
            continue
    return False


@probe("network.other_families")
def _(facts):
    for family in (3, 4, 5, 9, 15, 17, 21, 29, 30, 31, 35, 36, 37, 39, 41, 42, 43, 44, 45):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            try:
                if opens(family, kind):
                    return True
            except OSError:
                continue
    return False


@probe("ipc.abstract_socket")
def _(facts):
    return speaks(socket.AF_UNIX, "\0" + facts["abstract"])


@probe("ipc.path_socket")
def _(facts):
    return speaks(socket.AF_UNIX, facts["path_socket"])


@probe("ipc.path_datagram")
def _(facts):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as attempt:
        attempt.connect(facts["datagram_socket"])
        attempt.send(b"hello")
        return True


@probe("ipc.docker_socket")
def _(facts):
    engines = ("/var/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock")
    for path in (facts["docker_socket"], *engines):
        try:
            with socket.socket(socket.AF_UNIX) as attempt:
                attempt.connect(path)
                return True
        except OSError:
            continue
    return False


@probe("ipc.session_sockets")
def _(facts):
    paths = [
        "/run/dbus/system_bus_socket",
        "/run/systemd/private",
        "/tmp/.X11-unix/X0",
        f"/run/user/{facts['uid']}/bus",
    ]
    paths += [value for name, value in os.environ.items() if name in ("SSH_AUTH_SOCK", "WAYLAND_DISPLAY")]
    paths.append(facts["ssh_agent"])
    for path in paths:
        try:
            with socket.socket(socket.AF_UNIX) as attempt:
                attempt.connect(path)
                return True
        except OSError:
            continue
    return False
