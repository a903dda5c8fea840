"""Pinned keys of SSH servers, as a manifest writes them. Pure."""

from sidecar.gitgate.urls import Upstream


def known_hosts(upstream: Upstream, host_key: str) -> str:
    """A line for ssh. `host_key` is `ssh-ed25519 AAAA…`, or a whole line of a known_hosts file with names in front."""
    kind, blob = key_of(host_key)
    return f"{known_name(upstream)} {kind} {blob}\n"


def known_name(upstream: Upstream) -> str:
    """What the server is called in that line, and in what ssh says about it."""
    return upstream.host if upstream.port == 22 else f"[{upstream.host}]:{upstream.port}"


def key_of(host_key: str) -> tuple[str, str]:
    """Type and key in a pinned line. Raises ValueError."""
    words = host_key.split()
    start = 0 if words and _is_kind(words[0]) else 1
    if len(words) < start + 2 or not _is_kind(words[start]):
        raise ValueError("a host key is written `ssh-ed25519 AAAA…`, as ssh-keyscan prints it")
    return words[start], words[start + 1]


def aliases(host_key: str) -> tuple[str, ...]:
    """Names of the host in front of a pinned key: the repository may be written with them as well."""
    words = host_key.split()
    if not words or _is_kind(words[0]) or words[0].startswith("|"):
        return ()
    names = [name.strip("[]").partition("]:")[0] for name in words[0].split(",")]
    return tuple(name for name in names if name and all(char.isalnum() or char in ".-:_" for char in name))


def _is_kind(word: str) -> bool:
    return word.startswith(("ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"))
