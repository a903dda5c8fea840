"""Credentials whose form is computed: base58 and bech32 with their checksums, Keccak addresses, armour, signed parts.

Written from the published specifications (BIP-32, BIP-173, EIP-55, RFC 4880, 7516 and 7517, the formats of age,
minisign, PuTTY and OpenVPN, the algorithms of AWS and Synapse). Imports no rules.
"""

import base64
import binascii
import hashlib
import json
import random
import string
import struct
import uuid

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.bench._dlp_samples import ALNUM, HEX, LOW, UP, URL, Maker, form, some

B64 = ALNUM + "+/"
_58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def lines(text: str, width: int = 64) -> str:
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


def base58check(body: bytes) -> str:
    data = body + hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4]
    number, out = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        out = _58[digit] + out
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + out


def bech32(prefix: str, data: bytes, *first: int) -> str:
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    words = [*first, *(int(bits[at : at + 5], 2) for at in range(0, len(bits), 5))]
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = 1
    for word in (*expanded, *words, 0, 0, 0, 0, 0, 0):
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ word
        for at, factor in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= factor if top >> at & 1 else 0
    check ^= 1
    return prefix + "1" + "".join(_32[word] for word in (*words, *(check >> 5 * (5 - at) & 31 for at in range(6))))


def keccak256(data: bytes) -> bytes:
    """Keccak as Ethereum uses it, before it was padded as SHA-3."""
    mask = (1 << 64) - 1

    def turn(word: int, by: int) -> int:
        return (word << by | word >> (64 - by)) & mask if by else word

    def permute(lanes: list[list[int]]) -> list[list[int]]:
        register = 1
        for _ in range(24):
            column = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
            mixed = [column[(x + 4) % 5] ^ turn(column[(x + 1) % 5], 1) for x in range(5)]
            lanes = [[lanes[x][y] ^ mixed[x] for y in range(5)] for x in range(5)]
            x, y, current = 1, 0, lanes[1][0]
            for step in range(24):
                x, y = y, (2 * x + 3 * y) % 5
                current, lanes[x][y] = lanes[x][y], turn(current, (step + 1) * (step + 2) // 2 % 64)
            lanes = [
                [lanes[x][y] ^ (~lanes[(x + 1) % 5][y] & lanes[(x + 2) % 5][y]) for y in range(5)] for x in range(5)
            ]
            for bit in range(7):
                register = (register << 1 ^ (register >> 7) * 0x71) % 256
                if register & 2:
                    lanes[0][0] ^= 1 << ((1 << bit) - 1)
        return lanes

    padded = data + b"\x01" + bytes(-(len(data) + 1) % 136)
    padded = padded[:-1] + bytes([padded[-1] | 0x80])
    state = [[0] * 5 for _ in range(5)]
    for at in range(0, len(padded), 136):
        for index, (word,) in enumerate(struct.iter_unpack("<Q", padded[at : at + 136])):
            state[index % 5][index // 5] ^= word
        state = permute(state)
    return b"".join(state[index % 5][index // 5].to_bytes(8, "little") for index in range(4))


def ethereum(rng: random.Random) -> str:
    address = rng.randbytes(20).hex()
    digest = keccak256(address.encode()).hex()
    return "0x" + "".join(c.upper() if int(d, 16) > 7 else c for c, d in zip(address, digest, strict=False))


def not_ethereum(rng: random.Random) -> str:
    good = ethereum(rng)
    at = next(at for at in range(2, 42) if good[at].isalpha())
    return good[:at] + good[at].swapcase() + good[at + 1 :]


def broken(make: Maker) -> Maker:
    """The last letter changed: no checksum fits."""

    def spoil(rng: random.Random) -> str:
        good = make(rng)
        return good[:-1] + ("2" if good[-1] != "2" else "3")

    return spoil


def age(rng: random.Random) -> str:
    return bech32("age-secret-key-", rng.randbytes(32)).upper()


def age_plugin(rng: random.Random) -> str:
    return bech32("age-plugin-yubikey-", rng.randbytes(9)).upper()


def matrix(rng: random.Random) -> str:
    body = f"syt_{url64(some(rng, LOW, 7).encode())}_{some(rng, string.ascii_letters, 20)}"
    number, out = binascii.crc32(body.encode()), ""
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    while number:
        number, digit = divmod(number, 62)
        out = digits[digit] + out
    return f"{body}_{out.rjust(6, '0')}"


def ses(rng: random.Random) -> str:
    """Version 4, then a signature."""
    password = base64.b64encode(b"\x04" + rng.randbytes(32)).decode()
    return (
        f"SMTP_HOST=email-smtp.eu-west-1.amazonaws.com\nSMTP_USERNAME=AKIA{some(rng, UP, 16)}\nSMTP_PASSWORD={password}"
    )


def bedrock(rng: random.Random) -> str:
    url = (
        "bedrock.amazonaws.com/?Action=CallWithBearerToken&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIA"
        f"{some(rng, UP, 16)}%2F20260311%2Fus-east-1%2Fbedrock%2Faws4_request&X-Amz-Date=20260311T101500Z"
        f"&X-Amz-Expires=43200&X-Amz-Security-Token=IQoJb3JpZ2luX2Vj{some(rng, ALNUM, 300)}"
        f"&X-Amz-Signature={some(rng, HEX, 64)}&X-Amz-SignedHeaders=host&Version=1"
    )
    return "bedrock-api-key-" + base64.b64encode(url.encode()).decode()


def jwe(rng: random.Random) -> str:
    head = url64(json.dumps({"alg": "RSA-OAEP", "enc": "A256GCM"}, separators=(",", ":")).encode())
    return ".".join((head, *(url64(rng.randbytes(size)) for size in (256, 12, rng.randint(60, 200), 16))))


def long_jwe(rng: random.Random) -> str:
    head = url64(json.dumps({"alg": "dir", "enc": "A256GCM"}, separators=(",", ":")).encode())
    return f"{head}..{'.'.join(url64(rng.randbytes(size)) for size in (12, rng.randint(1600, 3000), 16))}"


def long_jwt(rng: random.Random) -> str:
    claims = {
        "iss": "https://login.example.org",
        "groups": [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(60)],
    }
    parts = ({"typ": "JWT", "alg": "RS256", "kid": rng.randbytes(16).hex()}, claims)
    return ".".join([*(url64(json.dumps(each).encode()) for each in parts), url64(rng.randbytes(256))])


def extended(rng: random.Random) -> str:
    return base58check(bytes.fromhex("0488ade4") + b"\x03" + rng.randbytes(40) + b"\0" + rng.randbytes(32))


def public_jwk(rng: random.Random) -> str:
    x, y = (url64(rng.randbytes(32)) for _ in range(2))
    return json.dumps({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "1", "use": "sig"})


def jwk(rng: random.Random) -> str:
    x, y, d = (url64(rng.randbytes(32)) for _ in range(3))
    return json.dumps({"kty": "EC", "crv": "P-256", "x": x, "y": y, "d": d, "kid": "1", "use": "sig"})


def pgp(rng: random.Random) -> str:
    body = b"\x94\x58\x04" + rng.randbytes(4) + b"\x16" + rng.randbytes(rng.randint(300, 600))
    check = 0xB704CE
    for byte in body:
        check ^= byte << 16
        for _ in range(8):
            check = check << 1 ^ (0x1864CFB if check & 0x800000 else 0)
    tail = base64.b64encode((check & 0xFFFFFF).to_bytes(3, "big")).decode()
    text = lines(base64.b64encode(body).decode())
    return f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{text}\n={tail}\n-----END PGP PRIVATE KEY BLOCK-----\n"


def putty(rng: random.Random) -> str:
    public = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + rng.randbytes(32)
    private = struct.pack(">I", 32) + rng.randbytes(32)
    return (
        "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: me@laptop\nPublic-Lines: 2\n"
        f"{lines(base64.b64encode(public).decode())}\nPrivate-Lines: 1\n{base64.b64encode(private).decode()}\n"
        f"Private-MAC: {some(rng, HEX, 64)}\n"
    )


def ssh2(rng: random.Random) -> str:
    body = lines(base64.b64encode(bytes.fromhex("3f6ff9eb") + rng.randbytes(500)).decode(), 70)
    name = "SSH2 ENCRYPTED PRIVATE KEY"
    return f'---- BEGIN {name} ----\nComment: "2048-bit rsa, me@laptop"\n{body}\n---- END {name} ----\n'


def minisign(rng: random.Random) -> str:
    body = base64.b64encode(b"EdScB2" + rng.randbytes(152)).decode()
    return f"untrusted comment: minisign encrypted secret key\n{body}\n"


def openvpn(rng: random.Random) -> str:
    body = "\n".join(some(rng, HEX, 32) for _ in range(16))
    name = "OpenVPN Static key V1"
    return f"#\n# 2048 bit OpenVPN static key\n#\n-----BEGIN {name}-----\n{body}\n-----END {name}-----\n"


def cosign(rng: random.Random) -> str:
    salt = base64.b64encode(rng.randbytes(32)).decode()
    sealed = {
        "kdf": {"name": "scrypt", "params": {"N": 65536, "r": 8, "p": 1}, "salt": salt},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(rng.randbytes(24)).decode()},
        "ciphertext": base64.b64encode(rng.randbytes(154)).decode(),
    }
    body = lines(base64.b64encode(json.dumps(sealed, separators=(",", ":")).encode()).decode())
    name = rng.choice(("ENCRYPTED COSIGN PRIVATE KEY", "ENCRYPTED SIGSTORE PRIVATE KEY"))
    return f"-----BEGIN {name}-----\n{body}\n-----END {name}-----\n"


def unix_hash(rng: random.Random) -> str:
    letters = "./" + ALNUM
    return rng.choice(
        (
            f"alice:$6${some(rng, letters, 16)}${some(rng, letters, 86)}:19700:0:99999:7:::",
            f"alice:$5${some(rng, letters, 16)}${some(rng, letters, 43)}:19700:0:99999:7:::",
            f"alice:$y$j9T${some(rng, letters, 22)}${some(rng, letters, 43)}:19700:0:99999:7:::",
            f"alice:$2y$10${some(rng, letters, 53)}",
            f"alice:$apr1${some(rng, letters, 8)}${some(rng, letters, 22)}",
        )
    )


def sourcehut(rng: random.Random) -> str:
    """Version, end, grants, client and user in BARE, then 32 bytes of HMAC."""
    user = some(rng, LOW, 8).encode()
    body = b"\0" + struct.pack("<q", rng.randint(1_800_000_000, 1_900_000_000)) + b"\0\0" + bytes([len(user)]) + user
    token = base64.b64encode(body + rng.randbytes(32)).rstrip(b"=").decode()
    return f'instance "sr.ht" {{\n    access-token "{token}"\n}}'


def encrypted_pem(_rng: random.Random) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    way = serialization.BestAvailableEncryption(b"a passphrase")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, way).decode()


def _pem(bits: int) -> bytes:
    key = rsa.generate_private_key(65537, bits)
    way = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, way, serialization.NoEncryption())


def service_account(rng: random.Random) -> str:
    mail = f"ci@acme-{some(rng, LOW, 6)}.iam.gserviceaccount.com"
    made = {"type": "service_account", "project_id": "acme", "private_key_id": some(rng, HEX, 40)}
    return json.dumps({**made, "private_key": _pem(2048).decode(), "client_email": mail, "client_id": "1"}, indent=2)


def kubeconfig(_rng: random.Random) -> str:
    return "client-key-data: " + base64.b64encode(_pem(2048)).decode()


def onepassword(rng: random.Random) -> str:
    salt = url64(rng.randbytes(16))
    made = {
        "signInAddress": "acme.1password.com",
        "userAuth": {"method": "SRPg-4096", "alg": "PBES2g-HS256", "iterations": 650000, "salt": salt},
        "email": f"{some(rng, LOW, 13)}@1passwordserviceaccounts.com",
        "srpX": some(rng, HEX, 64),
        "muk": {"alg": "A256GCM", "ext": True, "k": url64(rng.randbytes(32)), "kty": "oct", "kid": "mp"},
        "secretKey": "A3-" + "-".join(some(rng, UP, size) for size in (6, 6, 5, 5, 5, 5)),
        "deviceUuid": some(rng, LOW, 26),
    }
    return "ops_" + url64(json.dumps(made, separators=(",", ":")).encode())


def sentry_org(rng: random.Random) -> str:
    made = {
        "iat": 1_750_000_000.5,
        "url": "https://sentry.io",
        "region_url": "https://us.sentry.io",
        "org": some(rng, LOW, 6),
    }
    return "sntrys_" + base64.b64encode(json.dumps(made).encode()).decode() + "_" + some(rng, B64, 43)


def tunnel(rng: random.Random) -> str:
    secret = base64.b64encode(rng.randbytes(32)).decode()
    made = {"a": some(rng, HEX, 32), "t": str(uuid.UUID(int=rng.getrandbits(128), version=4)), "s": secret}
    return (
        "cloudflared tunnel run --token " + base64.b64encode(json.dumps(made, separators=(",", ":")).encode()).decode()
    )


def stateless(rng: random.Random) -> str:
    head = url64(b'{"alg":"ES256","typ":"JWT","kid":"' + some(rng, LOW, 12).encode() + b'"}')
    body = url64(json.dumps({"iss": "github", "iat": 1_780_000_000, "jti": some(rng, HEX, 32), "ins": 7}).encode())
    return f"ghs_{rng.randint(100_000, 9_999_999)}_{head}.{body}.{some(rng, URL, 86)}"


SPECIFIED: dict[str, Maker] = {
    "bitcoin": lambda rng: base58check(b"\0" + rng.randbytes(20)),
    "wif": lambda rng: base58check(b"\x80" + rng.randbytes(32) + b"\x01"),
    "extended-key": extended,
    "bech32": lambda rng: bech32("bc", rng.randbytes(20), 0),
    "ethereum": ethereum,
    "age-secret-key": age,
    "age-plugin-identity": age_plugin,
    "matrix-access-token": matrix,
    "aws-ses-smtp-password": ses,
    "aws-bedrock-short-term-key": bedrock,
    "jwe": jwe,
    "jwe-long": long_jwe,
    "jwt-long": long_jwt,
    "jwk-private-key": jwk,
    "pgp-private-key": pgp,
    "putty-private-key": putty,
    "ssh2-private-key": ssh2,
    "minisign-secret-key": minisign,
    "openvpn-static-key": openvpn,
    "cosign-private-key": cosign,
    "unix-password-hash": unix_hash,
    "sourcehut-token": sourcehut,
    "onepassword-service-token": onepassword,
    "sentry-org-token": sentry_org,
    "cloudflare-tunnel-token": tunnel,
    "github-installation-jwt": stateless,
}

TOOLS: dict[str, Maker] = {
    "pem-private-key-with-headers": encrypted_pem,
    "google-service-account-key": service_account,
    "pem-in-base64": kubeconfig,
}

SPOILT: dict[str, Maker] = {
    **{kind: broken(SPECIFIED[kind]) for kind in ("bitcoin", "wif", "extended-key", "bech32", "matrix-access-token")},
    **{kind: broken(SPECIFIED[kind]) for kind in ("age-secret-key", "age-plugin-identity")},
    "ethereum": not_ethereum,
    "jwe": form("eyJ", (URL, 40), ".", (URL, 40), ".", (URL, 16), ".", (URL, 60), ".", (URL, 22)),
    "jwe-long": form("eyJ", (URL, 40), ".", (URL, 40), ".", (URL, 16), ".", (URL, 2500), ".", (URL, 22)),
    "jwt-long": form("eyJ", (URL, 40), ".eyJ", (URL, 2500), ".", (URL, 43)),
    "sentry-org-token": form("sntrys_", (URL, 20)),
    "onepassword-service-token": form("ops_", (URL, 40)),
    "cloudflare-tunnel-token": form("cloudflared tunnel run --token ", (URL, 40)),
    "github-installation-jwt": form("ghs_", (string.digits, 6), "_", (ALNUM, 60)),
    "pgp-private-key": lambda rng: pgp(rng).replace("PRIVATE", "PUBLIC"),
    "jwk-private-key": public_jwk,
    "unix-password-hash": form("alice:$6$", (ALNUM, 16), "$", (ALNUM, 20), ":19700:0:99999:7:::"),
    "aws-bedrock-short-term-key": form("bedrock-api-key-", (ALNUM, 40)),
}
