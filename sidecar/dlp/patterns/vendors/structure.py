"""Checks of a value's own structure: checksums and encodings that its vendor defines. Pure; no check ever raises.

A check says no only where the vendor's definition is broken beyond doubt: what it refuses goes out.
"""

import base64
import binascii
import re
import zlib
from itertools import pairwise
from typing import Any, cast
from urllib.parse import unquote

import orjson

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"  # BIP-173
_BECH32_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)  # BIP-173
_POLITE = re.compile(
    r"(?i)(?:(?:my|your|some|db|user|the|a|super|top|test|default|dummy|fake|changed?)[_ -]?)?"
    r"(?:p[a4@]ss(?:w[o0]?r?d|wort|wd|phrase)?|p/ss|pw|pwd|passwd|secret|admin|root|user|username|guest|test|testing|tiger|"
    r"postgres|postgresql|mysql|mongo|mongodb|redis|rabbitmq|database|example|change[-_]?(?:me|it)|token|"
    r"api[_-]?key|credentials|string|hunter2|letmein|qwerty|xyzzy|opensesame|foo|bar|baz|foobar|default|sa|demo|dev|local|"
    r"abcd?|1q2w3e4r|value|word|none|null)(?:[_ -]?(?:here|password|pass|secret|pw|x))?[0-9!]{0,6}|[0-9]{1,8}"
)
"""What documentation, tests and examples have for a password, with or without a number behind it."""
_TEMPLATE = re.compile(
    r"<[^>]{0,80}>|\{[^}]{0,80}\}|\[[^\]]{0,80}\]|\$[({]|^\$[A-Za-z_][A-Za-z0-9_]*$|%\(|^%[a-z]|\*{3,}|[xX]{5,}|\.{3,}|"
    r"^[A-Z]+(?:_[A-Z0-9]+)*$|^[A-Za-z_$]\w{0,12}(?:\.\w{1,20})*\.(?:password|passwd|pwd|pass)(?:[,)]|$)"
)
"""A variable, a field to fill in, or a value that somebody has masked."""


def base62_crc32(data: bytes) -> str:
    """The CRC-32 of `data` as six base62 digits."""
    value, digits = zlib.crc32(data), ""
    while value:
        value, rest = divmod(value, 62)
        digits = _BASE62[rest] + digits
    return digits.rjust(6, "0")


def crc_suffix_of_body(text: str) -> bool:
    """GitHub and npm: `pre_`, 30 characters, then the CRC-32 of those thirty in base62.

    https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
    """
    body = text[4:-6]
    return len(body) != 30 or base62_crc32(body.encode()) == text[-6:]


def crc_suffix_of_all(text: str) -> bool:
    """Matrix (Synapse): the last part is the CRC-32 of all before it, in base62."""
    base, _, checksum = text.rpartition("_")
    return base62_crc32(base.encode()) == checksum


def grafana_service_account(text: str) -> bool:
    """Grafana's prefixed keys: the last part is the CRC-32 of all before it, little-endian hex (satokengen)."""
    base, _, checksum = text.rpartition("_")
    return zlib.crc32(base.encode()).to_bytes(4, "little").hex() == checksum


def unbase64(text: str) -> bytes:
    """The bytes of base64 or base64url text, padded or not; b"" if it is neither. A cut tail is passed over."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    plain = plain[: len(plain) - (len(plain) % 4 == 1)]
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4))
    except (binascii.Error, ValueError):
        return b""


def json_object(text: str) -> dict[str, Any]:
    """The JSON object that base64 `text` holds, or an empty one."""
    try:
        value = orjson.loads(unbase64(text))
    except ValueError:
        return {}
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def jwt(text: str) -> bool:
    """RFC 7519: the first part is a JSON object that names an algorithm. What a registry gives anybody is none."""
    head, _, rest = text[text.find("eyJ") :].partition(".")
    return isinstance(json_object(head).get("alg"), str) and not _anonymous(rest.partition(".")[0])


def _anonymous(claims: str) -> bool:
    """Claims of a registry's token (Distribution, "Token authentication") that is nobody's and lets only pull."""
    found = json_object(claims)
    access = found.get("access")
    if not isinstance(access, list) or not access or found.get("sub") not in (None, "", "(anonymous)"):
        return False
    if found.get("auth_type"):  # GitLab's for a deploy token, which has no name
        return False
    each = [cast(dict[str, Any], one) if isinstance(one, dict) else {} for one in cast(list[Any], access)]
    return all(one.get("actions") == ["pull"] for one in each)


def macaroon(text: str) -> bool:
    """PyPI: a version 2 macaroon of location pypi.org or test.pypi.org, whose identifier follows."""
    data = unbase64(text.partition("-")[2])
    for location in (b"pypi.org", b"test.pypi.org"):
        head = bytes((2, 1, len(location))) + location + b"\x02"
        if data.startswith(head) and len(data) > len(head) + 40:
            return data[len(head)] >= 16
    return False


def bech32(text: str) -> bool:
    """BIP-173: the checksum that age keys carry. Either case, not both."""
    if text not in (text.lower(), text.upper()):
        return False
    human, _, data = text.lower().rpartition("1")
    if any(char not in _BECH32 for char in data):
        return False
    values = [ord(char) >> 5 for char in human] + [0] + [ord(char) & 31 for char in human]
    state = 1
    for value in values + [_BECH32.index(char) for char in data]:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_BECH32_GENERATOR):
            state ^= generator if top >> bit & 1 else 0
    return state == 1


def ses_smtp_password(text: str) -> bool:
    """AWS SES: base64 of a version byte 4 and a 32-byte HMAC (SES developer guide, "Obtaining SMTP credentials")."""
    data = unbase64(text)
    return len(data) == 33 and data[0] == 4


def discord_bot(text: str) -> bool:
    """The first part of a Discord token is the bot's id: 17 to 20 digits in base64."""
    return re.fullmatch(rb"[0-9]{17,20}", unbase64(text.split(".", 1)[0])) is not None


def mapbox_secret(text: str) -> bool:
    """The payload of a Mapbox token is a JSON object that names the user."""
    return isinstance(json_object("".join(text.split(".")[1:2])).get("u"), str)


def cloudflare_tunnel(text: str) -> bool:
    """The token of a Cloudflare tunnel: a JSON object of account, tunnel and secret."""
    return {"a", "t", "s"} <= json_object(text).keys()


def sentry_org(text: str) -> bool:
    """A Sentry organization token holds a JSON object that names its region."""
    return "url" in json_object(text.removeprefix("sntrys_").split("_", 1)[0])


def one_password(text: str) -> bool:
    """A 1Password service account token begins a JSON object with the account's e-mail address and keys."""
    head = unbase64(text.removeprefix("ops_")[:120])
    return head.startswith(b'{"') and b'":' in head


def basic_credentials(text: str) -> bool:
    """RFC 7617: base64 of `user:password`, printable, and neither part is what documentation has there."""
    data = unbase64(text.split(" ")[-1].strip("\"'"))
    try:
        user, colon, password = data.decode().partition(":")
    except UnicodeDecodeError:
        return False
    return bool(colon) and (user + password).isprintable() and plausible_password(password)


def npm_login(text: str) -> bool:
    """npm's `_auth` is `user:password` in base64, its `_password` the password alone."""
    data = unbase64(text)
    printable = len(data) >= 10 and data.isascii() and data.decode().isprintable()
    return basic_credentials(text) or (printable and plausible_password(data.decode()))


def docker_auth(text: str) -> bool:
    """Docker's config.json: the value of `auth` is `user:password` in base64."""
    return basic_credentials(re.split(r'[\\"]+', text.rstrip('\\"'))[-1])


def pem_in_base64(text: str) -> bool:
    """Base64 of a PEM private key, as kubeconfig's client-key-data has it."""
    head = unbase64(text[:200])
    return head.startswith(b"-----BEGIN ") and b"PRIVATE KEY" in head


def polite(text: str) -> bool:
    """What documentation has for a password: `db_password`, `mysecret`, `test123`."""
    return _POLITE.fullmatch(unquote(text)) is not None


def plausible_password(text: str) -> bool:
    """False for what documentation, tests and templates have where a password goes."""
    plain = unquote(text)
    if len(plain) < 4 or _POLITE.fullmatch(plain) or len(set(plain)) < 3:
        return False
    return _TEMPLATE.search(plain) is None


def url_with_password(text: str) -> bool:
    """`scheme://user:password@host`: the password is no placeholder, and not the user's name over again."""
    authority = text.partition("://")[2].rpartition("@")[0]
    user, _, password = authority.partition(":")
    return plausible_password(password) and (user != password or len(password) > 24)


def key_value_password(text: str) -> bool:
    """`Server=…;Password=…` and the like: what follows the last `password` or `pwd` is no placeholder."""
    found = re.findall(r"(?i)(?:password|pwd)\s{0,3}[=:]\s{0,3}[\"']?([^;&\"'\s]{1,200})", text)
    return bool(found) and plausible_password(found[-1])


def netrc_password(text: str) -> bool:
    """`machine … password VALUE`: the value is no placeholder."""
    return plausible_password(text.split()[-1])


def mixed(text: str) -> bool:
    """Capital and small letters, and digits or a change of case at every other place: what a random run of base62 or
    base64 has, and no hash, no number and hardly a name has. In camel case the case changes at one place in three."""
    if not (any(map(str.islower, text)) and any(map(str.isupper, text))):
        return False
    return any(map(str.isdigit, text)) or irregular(text)


def irregular(text: str) -> bool:
    """The case changes at two places in five at least, which camel case hardly does."""
    small = text.encode("ascii", "replace").translate(_SMALL)
    return 5 * (small.count(b"a-") + small.count(b"-a")) >= 2 * len(text)


_SMALL = bytes(97 if 97 <= code <= 122 else 45 for code in range(256))
"""Small letters and the rest: a count of two together takes a hundredth of a look at each pair."""


def random_letters(text: str) -> bool:
    """Capital and small letters, capitals side by side at two places: where no digit can tell it from camel case."""
    pairs = sum(left.isupper() and right.isupper() for left, right in pairwise(text))
    return any(map(str.islower, text)) and (pairs >= 2 or irregular(text))


def letters_and_digits(text: str) -> bool:
    """Both of them, or mixed case as in `mixed`: not a number, not a word."""
    return (any(map(str.isdigit, text)) and any(map(str.isalpha, text))) or mixed(text)
