"""What stands directly before a value and says that it is no credential, whatever words are near it: the name of a
digest, of a place in a list or of a secret's name, an action's pin, a resource's address. Pure.

Only names that no credential is given by: whoever wants to hide one can call it anything, and its vendor's shape, the
bottle's own secrets and the canary are looked for under any name.
"""

import re

_REACH = 128
_BESIDE = b"\\\"'` \t"
_SIGNS = b":=>"
_NAMES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_PLACES = _NAMES + b"./"
_ADDRESS = _NAMES + b"./:*$"
_DIGESTS = (
    b"sha", b"sha1", b"sha256", b"commit", b"revision", b"rev", b"digest", b"checksum", b"integrity", b"etag", b"oid",
)  # fmt: skip
_HASHES = frozenset((32, 40, 64))
_HEX = re.compile(rb"[0-9a-f]+")
_UUID = re.compile(rb"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_PAGES = (
    b"nexttoken", b"pagetoken", b"paginationtoken", b"continuationtoken", b"nextforwardtoken", b"nextbackwardtoken",
    b"synctoken", b"skiptoken",
)  # fmt: skip
_ABOUT = (b"name", b"arn", b"tokentype", b"secrettype", b"algorithm", b"hashmethod", b"encoding")
_OTHER_WORD = re.compile(rb"pass(?:ive|ed|es|through)")
_SECRET_WORD = re.compile(rb"pass(?:w|phrase|code)|secret|token|key|credential|pwd|kennwort")
_ONCE = (b"clienttoken", b"clientrequesttoken", b"idempotencytoken", b"creationtoken", b"locktoken", b"changetoken")
"""Made up by a client so that what is asked twice is done once, or of a version so that nobody's change is lost."""
_IDENTIFIERS = (b"keyid", b"credentialid", b"credentialsid")
_USER_SECRETS = b"usersecretsid"
"""The name of a folder on the developer's machine: in .NET's project files."""
_FORGERY = re.compile(rb"(?:[cx]srf[a-z]*token|authenticitytoken|requestverificationtoken)\Z")
"""What a page's own form sends with itself: of no use without its session. `CSRF_TOKEN_SECRET` makes such, for all."""
_FORGERY_FIELD = re.compile(
    rb"(?i)name=[\\\"']{1,4}(?:[a-z_-]{0,16}[cx]srf(?:[a-z_-]{0,24}token)?|authenticity_token|__RequestVerificationToken)"
    rb"[\\\"']{1,4}[^<>=]{0,24}value=[\\\"']{1,4}\Z"
)
_BROWSER_MONITOR = re.compile(rb"pub[0-9a-f]{32}")
"""Of Datadog, as its customers' pages show it."""
_ASSEMBLY = b"publickeytoken"
"""The hash of a public key that a .NET assembly is named with: in each `.resx`."""
_SHORT_HASH = re.compile(rb"[0-9A-Fa-f]{16}")
_OID = re.compile(rb"[0-2](?:\.[0-9]{1,10}){4,24}")
_BADGE = (b".svg?token=", b"/badge?token=")
_ANNOTATION = re.compile(rb"checksum/[a-z0-9_.-]{1,40}[\\\"']{0,3}: ?[\\\"']{0,3}")
"""As Helm's templates have it, so that a pod starts anew where its secret changed."""
_ARN = re.compile(rb"arn:aws[a-z-]{0,12}:[a-z0-9-]{1,40}:")


_TYPE = re.compile(rb": ?(?:str|string|String|&str|bytes|Text|Optional\[str|str \| None)\Z")
_OPTION = re.compile(rb"--([a-z-]{4,40}) [\"']?\Z")
_USER = re.compile(rb"//([^/@:\s]{1,24}):\Z")


def user_again(text: bytes, start: int, end: int) -> bool:
    """A password in a URL that is the user's name, as examples and containers for tests have it."""
    user = _USER.search(text[max(0, start - 32) : start])
    return user is not None and user[1] == text[start:end]


def name_before(text: bytes, start: int) -> bytes:
    """The name that a value at `start` is given by (`name: value`, `"name" = "value"`, `name: str = value`, `--name
    value`), in small letters and without marks; nothing where there is none."""
    before = text[max(0, start - _REACH) : start].rstrip(_BESIDE)
    named = before.rstrip(_SIGNS)
    if len(named) == len(before):
        option = _OPTION.search(text[max(0, start - _REACH) : start])
        return option[1].replace(b"-", b"") if option else b""
    named = _TYPE.sub(b"", named.rstrip(_BESIDE + b"]"))
    return named[len(named.rstrip(_NAMES)) :].lower().translate(None, b"_-")


def digest(text: bytes, start: int, end: int) -> bool:
    """A commit, a pinned action or image, a checksum: hexadecimal, and said to be one."""
    value = text[start:end]
    if len(value) not in _HASHES or not _HEX.fullmatch(value):
        return False
    before = text[max(0, start - _REACH) : start]
    if before.endswith(b"@"):  # owner/repository@commit
        path = before[:-1]
        return b"/" in path[len(path.rstrip(_PLACES)) :]
    last = before.rstrip(_BESIDE)
    word = last[len(last.rstrip(_NAMES)) :].lower()
    if last[-len(word) - 1 :].startswith(b"\\"):  # a line's end, escaped
        word = word[1:]
    return word in _DIGESTS or name_before(text, start).endswith(_DIGESTS)


def harmless(text: bytes, start: int, end: int) -> bool:
    """A value after the word of a secret that is none: where a list goes on, what a secret is called."""
    before = text[max(0, start - _REACH) : start]
    noted = before.rfind(b"checksum/")
    if before.endswith(_BADGE) or (noted >= 0 and _ANNOTATION.fullmatch(before, noted)):
        return True
    address = before[len(before.rstrip(_ADDRESS)) :]
    if (found := address.rfind(b"arn:")) >= 0 and _ARN.match(address, found):
        return True
    if _OID.fullmatch(text, start, end):  # of a time stamp, say
        return True
    name = name_before(text, start)
    if name.endswith(_ASSEMBLY) and _SHORT_HASH.fullmatch(text, start, end):
        return True
    if _for_a_form(before, name):
        return True
    if name.endswith(b"clienttoken") and _BROWSER_MONITOR.fullmatch(text, start, end):
        return True
    if _OTHER_WORD.search(name) and not _SECRET_WORD.search(name):  # `force_passive`
        return True
    if name and name == text[start:end].lower().translate(None, b"_-"):  # `exports.Token2 = Token2`
        return True
    if name.endswith((*_PAGES, *_ABOUT, *_IDENTIFIERS)):
        return True
    return name.endswith((*_ONCE, _USER_SECRETS)) and _UUID.fullmatch(text, start, end) is not None


def _for_a_form(before: bytes, name: bytes) -> bool:
    return _FORGERY.search(name) is not None or _FORGERY_FIELD.search(before) is not None
