"""Checksums of payment cards, bank accounts, wallets and seed phrases. Pure; each function decides about one text."""

import hashlib
import re
from functools import cache

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

# ISO 13616 registry: total length of an IBAN by country.
_IBAN = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24
FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21
LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22
RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
_IBAN_LENGTH = {entry[:2]: int(entry[2:]) for entry in _IBAN.split()}


def iban_countries() -> str:
    """The countries as an expression: of capital hex, a sixth passes."""
    seconds: dict[str, str] = {}
    for first, second in sorted(_IBAN_LENGTH):
        seconds[first] = seconds.get(first, "") + second
    return f"(?:{'|'.join(f'{first}[{rest}]' for first, rest in seconds.items())})"


# Issuer ranges: first digits (low, high, how many digits), lengths in use.
_ISSUERS = (
    (4, 4, 1, (13, 16, 19)),
    (51, 55, 2, (16,)),
    (2221, 2720, 4, (16,)),
    (34, 34, 2, (15,)),
    (37, 37, 2, (15,)),
    (6011, 6011, 4, (16, 19)),
    (644, 659, 3, (16, 19)),
    (3528, 3589, 4, (16, 19)),
    (300, 305, 3, (14,)),
    (36, 36, 2, (14,)),
    (38, 39, 2, (14,)),
    (62, 62, 2, (16, 17, 18, 19)),
)


_UNIONPAY = 62
_LIKE_OTHERS = (13, 17, 18, 19)
"""Hardly a card is so long but UnionPay's, and one in a hundred identifiers of 63 bits (traces, posts) would be one."""


def luhn(digits: str) -> bool:
    """ISO/IEC 7812 check digit."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _issuers(low: int, high: int, size: int) -> str:
    """Numbers of `size` digits from `low` to `high`, as an expression: the digits in front that all have, then one."""
    first, last = str(low), str(high)
    same = next((at for at in range(size) if first[at] != last[at]), size)
    if same == size:
        return first
    return f"{first[:same]}[{first[same]}-{last[same]}]" + "[0-9]" * (size - same - 1)


def cards(*, named: bool) -> str:
    """Numbers of cards in one piece, as an expression a little too wide: those `named` as such alone, or the others."""
    return "|".join(
        f"{_issuers(low, high, size)}[0-9]{{{length - size}}}"
        for low, high, size, lengths in _ISSUERS
        for length in lengths
        if (length in _LIKE_OTHERS and low != _UNIONPAY) == named
    )


def plain_card(text: str) -> bool:
    """A payment card's number that can be told by itself: grouped, or as long as such numbers mostly are."""
    return card(text) and (not text.isdigit() or len(text) not in _LIKE_OTHERS or text.startswith(str(_UNIONPAY)))


def card(text: str) -> bool:
    """A payment card's number of a known issuer, evenly grouped if it is grouped."""
    digits = re.sub(r"[ .-]", "", text)
    if len(set(digits)) < 3 or len({char for char in text if char in " .-"}) > 1:
        return False
    known = any(low <= int(digits[:size]) <= high and len(digits) in lengths for low, high, size, lengths in _ISSUERS)
    return known and luhn(digits)


def iban(text: str) -> bool:
    """ISO 13616: the country's length, and the whole number modulo 97."""
    plain = text.replace(" ", "").upper()
    if _IBAN_LENGTH.get(plain[:2]) != len(plain):
        return False
    moved = plain[4:] + plain[:4]
    return int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


def base58check(text: str) -> bool:
    """Base58 whose last four bytes are the double SHA-256 of the others: Bitcoin-like addresses and keys."""
    number = 0
    for char in text:
        place = _BASE58.find(char)
        if place < 0:
            return False
        number = number * 58 + place
    size = len(text) - len(text.lstrip("1"))
    raw = b"\0" * size + number.to_bytes((number.bit_length() + 7) // 8)
    if len(raw) < 5:
        return False
    return hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


def bech32(text: str) -> bool:
    """BIP 173 and 350: addresses of segregated witness."""
    prefix, _, data = text.lower().rpartition("1")
    if not prefix or any(char not in _BECH32 for char in data):
        return False
    check = 1
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [_BECH32.index(c) for c in data]
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check in (1, 0x2BC830A3)


def ethereum(text: str) -> bool:
    """EIP-55: the letters' case is a checksum; an address in one case has none and is left alone."""
    plain = text.removeprefix("0x")
    if plain in (plain.lower(), plain.upper()):
        return False
    digest = keccak256(plain.lower().encode()).hex()
    return all(char.isdigit() or char.isupper() == (int(digest[at], 16) >= 8) for at, char in enumerate(plain))


_ROTATIONS = (
    (0, 36, 3, 41, 18),
    (1, 44, 10, 45, 2),
    (62, 6, 43, 15, 61),
    (28, 55, 25, 21, 56),
    (27, 20, 39, 8, 14),
)
_MASK = (1 << 64) - 1


def _round_constants() -> tuple[int, ...]:
    """FIPS 202, algorithm 5."""
    constants: list[int] = []
    register = 1
    for _ in range(24):
        value = 0
        for power in range(7):
            if register & 1:
                value |= 1 << ((1 << power) - 1)
            register <<= 1
            if register & 0x100:
                register ^= 0x171
        constants.append(value)
    return tuple(constants)


def _permute(lanes: list[list[int]]) -> list[list[int]]:
    """Keccak-f[1600]."""
    for constant in _round_constants():
        parity = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
        turned = [parity[(x - 1) % 5] ^ _rotate(parity[(x + 1) % 5], 1) for x in range(5)]
        moved = [[0] * 5 for _ in range(5)]
        for x in range(5):
            for y in range(5):
                moved[y][(2 * x + 3 * y) % 5] = _rotate(lanes[x][y] ^ turned[x], _ROTATIONS[x][y])
        lanes = [
            [moved[x][y] ^ (~moved[(x + 1) % 5][y] & moved[(x + 2) % 5][y] & _MASK) for y in range(5)] for x in range(5)
        ]
        lanes[0][0] ^= constant
    return lanes


def _rotate(value: int, by: int) -> int:
    return ((value << by) | (value >> (64 - by))) & _MASK if by else value


def keccak256(data: bytes) -> bytes:
    """Keccak with the padding from before its standardisation as SHA-3: what Ethereum hashes with. One block only."""
    rate = 136
    if len(data) >= rate:
        raise ValueError("only short texts are hashed here")
    block = bytearray(data + b"\1" + b"\0" * (rate - len(data) - 1))
    block[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for place in range(rate // 8):
        lanes[place % 5][place // 5] = int.from_bytes(block[8 * place : 8 * place + 8], "little")
    lanes = _permute(lanes)
    return b"".join(lanes[place % 5][place // 5].to_bytes(8, "little") for place in range(4))


@cache
def _words() -> dict[str, int]:
    from mnemonic import Mnemonic

    return {word: place for place, word in enumerate(Mnemonic("english").wordlist)}


@cache
def seed_words() -> frozenset[bytes]:
    """The English BIP-39 list."""
    return frozenset(word.encode() for word in _words())


def seed_phrase(words: list[str]) -> bool:
    """BIP-39: 12 to 24 words of the list, the last bits being the checksum of the others; not a part of the list."""
    if len(words) not in (12, 15, 18, 21, 24) or len(set(words)) < 4 or words == sorted(words):
        return False
    number = 0
    for word in words:
        number = number << 11 | _words()[word]
    check = len(words) * 11 // 33
    entropy = (number >> check).to_bytes(len(words) * 4 // 3)
    return number & ((1 << check) - 1) == hashlib.sha256(entropy).digest()[0] >> (8 - check)
