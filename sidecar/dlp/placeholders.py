"""Which values are obviously no secret: `<your-key>`, `xxxx`, `changeme`, `${TOKEN}`. Pure.

Kept narrow on purpose: whoever can choose a real credential's characters could otherwise hide it here. Words count only
where a random value of that length has them by less than one chance in a million, or where they are the whole value.
"""

import re

_WORDS = re.compile(
    rb"(?i)x{6,}|\*{4,}|\.{4,}|-{6,}|_{6,}|0{12,}|your[_-]?(?:own|api|key|token|secret|access|password|client|project)|"
    rb"change[_-]?me|placeholder|redacted|<[a-z]|insert[_-]|my[_-](?:api|secret|token|key|password)|"
    rb"(?:fake|dummy|sample|not[_-]?(?:a[_-])?real|mock)[_-]?(?:key|token|secret|password|api|cred)|carboy-placeholder|"
    rb"\$\{|\{\{|%\(|\$\("
)
_RUN = re.compile(rb"(.)\1{7}")
_SEQUENCES = (b"0123456789", b"1234567890", b"abcdefghij", b"9876543210")

_FILE = re.compile(rb"-----BEGIN |---- BEGIN |PuTTY-")
_PIECE = re.compile(rb"[A-Za-z0-9+/=]+")


def judged_by(value: bytes) -> bytes:
    """What of a value tells a placeholder: of a private key its longest run of letters, since anybody's words stand in
    a comment, a name of a file or what is put before each line."""
    return max(_PIECE.findall(value), key=len, default=value) if _FILE.match(value) else value


def is_placeholder(value: bytes) -> bool:
    """True for what stands in documentation where a value would be."""
    if len(set(value)) <= 3 or _WORDS.search(value):
        return True
    lowered = value.lower()
    runs = sum(lowered.count(piece) * len(piece) for piece in _SEQUENCES)
    runs += sum(len(match.group()) for match in _RUN.finditer(value))
    return 2 * runs >= len(value)
