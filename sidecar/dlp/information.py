"""Whether a few letters and digits say enough to stand for a secret. Pure.

Secrets share constants with innocent text: dictionary words, alphabets, JWT and PEM headers, the gzip header. A window
made of those would be found in half of all conversations.
"""

import base64
import re
import string
from functools import cache
from itertools import permutations

_SETS = (string.ascii_uppercase, string.ascii_lowercase, string.digits)

_JWT_HEADERS = (
    *(
        f'{{"{first[0]}":"{first[1]}","{second[0]}":"{second[1]}"}}'
        for algorithm in (
            "HS256",
            "HS384",
            "HS512",
            "RS256",
            "RS384",
            "RS512",
            "ES256",
            "ES384",
            "PS256",
            "EdDSA",
            "none",
        )
        for first, second in permutations((("alg", algorithm), ("typ", "JWT")))
    ),
    *(f'{{"alg":"{algorithm}","kid":"' for algorithm in ("RS256", "ES256")),
    *(f'{{"alg":"{algorithm}"}}' for algorithm in ("RS256", "HS256", "ES256")),
)
_KEY_KINDS = ("", "RSA", "EC", "DSA", "OPENSSH", "ENCRYPTED")
_CONSTANTS = (
    *(base64.b64encode(header.encode()).rstrip(b"=").decode() for header in _JWT_HEADERS),
    *(f"{edge}{kind}PRIVATEKEY" for kind in _KEY_KINDS for edge in ("BEGIN", "END")),
    "BEGINPGPPRIVATEKEYBLOCK",
    "BEGINCERTIFICATE",
    # how unencrypted OpenSSH keys, PKCS #8 and PKCS #1 RSA keys, and OpenSSH public keys begin
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAB",
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
    "MIIEpAIBAAKCAQEA",
    "MIIEowIBAAKCAQEA",
    "AAAAC3NzaC1lZDI1NTE5AAAAI",
    "AAAAB3NzaC1yc2EAAAADAQAB",
    *("H4sIAAAAAAAA" + end for end in ("A", "C", "E")),
    "skantapi03",
    "githubpat11",
    "qwertyuiopasdfghjklzxcvbnm",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
    *(string.digits * 4, "1234567890" * 4, "0123456789abcdef" * 4, "0123456789ABCDEF" * 4),
    *(first + second + first for first in _SETS for second in _SETS),
    *(first + second + third for first, second, third in permutations(_SETS)),
)
_WORDS = """
access account active admin agent alpha amazon anthropic api app application apps assets async auth author backend
backup base beta body bucket build cache canary carboy change client cloud cluster code com command commit common
config connection console container content context control core create credential current customer data database
debug default delete demo deploy dev development device docker domain email engine env environment error event example
export external feature file filter frontend function gateway generic git github gitlab global google group handler
hash header hello host http https image import index info input instance internal issue item java json kernel key keys
label lambda latest letter level library linux list local localhost log login mail main manager master memory message
metrics microsoft migration mobile model module monitor name network node none notes number object office online open
openai operator option order org output owner package page param parser pass password path pattern payment phone
platform plugin point policy post postgres prefix private process prod product production profile project prompt
provider proxy public python query queue quick random read record redis region release remote report repo request
reset resource response rest result role root route runner running sample schema scope script search secret section
secure security self send server service session settings shared shell sign simple single slack socket source space
spec staging start state static status storage store stream string stripe super support system table target task team
temp template terminal test testing text the this thread ticket time title token tool total trace traffic transfer
tree trial true type update upload user users util value variable vault version view virtual web webhook website
window word work worker workspace world write your zone
"""
_BY_LENGTH = tuple(sorted((word for word in _WORDS.split() if len(word) >= 4), key=len, reverse=True))
_PREFIX = re.compile(rb"(?:[A-Za-z]{1,8}[0-9]{0,3}[-_]){1,3}")


@cache
def _dull_texts() -> bytes:
    return "\n".join(_CONSTANTS).encode()


@cache
def _wordy() -> re.Pattern[str]:
    return re.compile("|".join(_BY_LENGTH))


def informative(literal: bytes) -> bool:
    """True where `literal` is unlikely to stand in a text that has nothing to do with the secret it was cut from."""
    if len(set(literal)) < (5 if len(literal) >= 10 else 4):
        return False
    if literal in _dull_texts():
        return False
    text = literal.decode("ascii", "replace")
    return not _mostly_words(text)


def _mostly_words(text: str) -> bool:
    """Two thirds of it are common words; one may be cut off at either end."""
    lowered = text.lower()
    starts, ends = _ends_of_words()
    head = next((size for size in range(len(text), 2, -1) if lowered[:size] in ends), 0)
    tail = next((size for size in range(len(text) - head, 2, -1) if lowered[len(text) - size :] in starts), 0)
    inside = lowered[head : len(text) - tail]
    covered = head + tail + sum(len(match.group()) for match in _wordy().finditer(inside))
    return 3 * covered >= 2 * len(text)


@cache
def _ends_of_words() -> tuple[frozenset[str], frozenset[str]]:
    """Beginnings and endings of the common words, of three letters and more, themselves too."""
    starts = {word[:size] for word in _BY_LENGTH for size in range(3, len(word) + 1)}
    ends = {word[-size:] for word in _BY_LENGTH for size in range(3, len(word) + 1)}
    return frozenset(starts), frozenset(ends)


def dull_prefix(raw: bytes) -> int:
    """Letters and digits at the start of a secret that are a vendor's constant prefix: `sk-ant-api03-` has ten."""
    match = _PREFIX.match(raw)
    if match is None or match.end() > 20 or match.end() * 2 > len(raw):
        return 0
    return sum(1 for byte in match.group() if chr(byte).isalnum())
