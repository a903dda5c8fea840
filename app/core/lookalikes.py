"""Host names that are not what they seem: names in other letters (punycode), and names that a reader takes for another
one. Pure. It only tells; nothing is refused by it."""

from collections.abc import Iterable

from sidecar.dlp.fold import fold_text

WELL_KNOWN = (
    "anthropic.com", "api.anthropic.com", "bitbucket.org", "crates.io", "debian.org", "docker.com", "docker.io",
    "files.pythonhosted.org", "github.com", "githubusercontent.com", "gitlab.com", "google.com", "googleapis.com",
    "huggingface.co", "microsoft.com", "npmjs.com", "npmjs.org", "openai.com", "api.openai.com", "pypi.org",
    "python.org", "pythonhosted.org", "registry.npmjs.org", "rubygems.org", "slack.com", "stackoverflow.com",
    "ubuntu.com", "wikipedia.org",
)  # fmt: skip
_SHAPES = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("0", "o"), ("1", "l"), ("i", "l"), ("5", "s"))
"""What fonts draw alike, in names of letters and digits alone."""
MIN_LENGTH = 6


def in_letters(host: str) -> str:
    """A punycode name as it would be shown; empty for a plain one."""
    name = host.removeprefix("*.")
    if "xn--" not in name:
        return ""
    try:
        return name.encode("ascii").decode("idna")
    except UnicodeError:
        return "unreadable"


def resembles(host: str, known: Iterable[str] = ()) -> str:
    """The host that this one may be taken for; empty where there is none. One below a known one is that one's own."""
    name = host.removeprefix("*.").lower()
    shown = in_letters(name)
    seen = fold_text(shown).lower() if shown and shown != "unreadable" else name
    others = [item.removeprefix("*.").lower() for item in (*known, *WELL_KNOWN)]
    if any(name == item or name.endswith("." + item) for item in others):
        return ""
    for item in dict.fromkeys(others):
        if len(item) >= MIN_LENGTH and (_shape(seen) == _shape(item) or (_one_apart(seen, item) and len(item) > 8)):
            return item
    return ""


def _shape(name: str) -> str:
    for drawn, as_ in _SHAPES:
        name = name.replace(drawn, as_)
    return name


def _one_apart(one: str, other: str) -> bool:
    """One letter more, fewer or different, or two neighbours changed places; top-level names are left alone."""
    if one == other or one.rpartition(".")[2] != other.rpartition(".")[2] or abs(len(one) - len(other)) > 1:
        return False
    start = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    a, b = one[start:], other[start:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[1:2] + a[:1] + a[2:] == b and len(a) > 1)
