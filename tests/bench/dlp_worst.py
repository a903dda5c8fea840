"""Searches for the text that costs the scan most: mutates what was dearest, by processor time against a clean body of
the same size, and prints the worst. Not part of what is asserted: a clock in a test fails on a busy machine.

    python -m tests.bench.dlp_worst [seconds] [seed]
"""

import base64
import codecs
import random
import sys
import time
from dataclasses import dataclass

from sidecar.dlp.engine import Engine
from sidecar.dlp.patterns.model import all_types
from tests.bench.dlp import BODY, body, engine_of, messages, secrets

SIZE, FINAL = 100_000, 1_000_000
POPULATION, SHOWN = 24, 6

ATOMS = [
    *(part.encode() for part in "%&\\\"'=:;,.-_/+#@$09aZ\n\r\t \0\x7f"),
    *(
        b"%41",
        b"%25",
        b"&#65;",
        b"&amp;",
        b"\\u0041",
        b"\\x41",
        b"\\n",
        b"\\\\",
        b"\\101",
        b"0x41",
        b"41 ",
        b"H4sI",
        b"eJz",
    ),
    *("é".encode(), "→".encode(), "ａ".encode(), "\u0301".encode(), "\u200b".encode(), "𝐀".encode(), b"\xff", b"\xc3"),
    *(b"QUJD", b"MFRGG", b"deadbeef", b"AKIA", b"ghp_", b"eyJ", b"sk-", b"xoxb-", b"://", b"password=", b"secret: "),
    *(b"4539", b"4539148803436467", b"DE89", b"abandon ", b"-----BEGIN ", b"\x1f\x8b\x08", b"aws_secret_access_key"),
]
WRAPS = {
    "plain": lambda text: text,
    "base64": base64.b64encode,
    "hex": lambda text: text.hex().encode(),
    "base32": base64.b32encode,
    "percent": lambda text: "".join(f"%{byte:02x}" for byte in text).encode(),
    "unicode": lambda text: "".join(f"\\u{byte:04x}" for byte in text).encode(),
    "entities": lambda text: "".join(f"&#{byte};" for byte in text).encode(),
    "reversed": lambda text: text[::-1],
    "rot13": lambda text: codecs.encode(text.decode("latin-1"), "rot13").encode("latin-1"),
}  # each takes bytes and gives bytes


@dataclass(frozen=True)
class Recipe:
    """A text: a row of atoms over and over, in layers of encoding, the outermost last."""

    atoms: tuple[bytes, ...]
    wraps: tuple[str, ...] = ()

    def make(self, size: int) -> bytes:
        row = b"".join(self.atoms) or b" "
        text = (row * (size // len(row) + 1))[:size]
        for name in self.wraps:
            text = WRAPS[name](text[:size])
        return text[:size]

    def changed(self, rng: random.Random, values: list[bytes]) -> "Recipe":
        atoms, wraps = list(self.atoms), list(self.wraps)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(atoms) + 1)
            kind = rng.random()
            if kind < 0.35:
                atoms.insert(at, rng.choice(ATOMS) if rng.random() < 0.8 else rng.choice(values))
            elif kind < 0.55 and len(atoms) > 1:
                del atoms[at - 1]
            elif kind < 0.7:
                atoms[at:at] = atoms[:at][-rng.randint(1, 6) :] * rng.randint(1, 4)
            elif kind < 0.8:
                atoms.insert(at, bytes(rng.randrange(256) for _ in range(rng.randint(1, 40))))
            elif kind < 0.93:
                wraps = [*wraps, rng.choice(list(WRAPS))][-3:]
            else:
                wraps = wraps[:-1]
        return Recipe(tuple(atoms[:60]), tuple(wraps))


def cost(engine: Engine, text: bytes, runs: int = 2) -> float:
    """Seconds of all threads."""
    best = float("inf")
    for _ in range(runs):
        before = time.process_time()
        engine.scan(text, where=BODY)
        best = min(best, time.process_time() - before)
    return best


def search(engine: Engine, seconds: float, seed: int) -> list[tuple[float, Recipe]]:
    rng = random.Random(seed)
    values = [text.encode() for each in all_types() for text in each.positives[:1]] + [s.encode() for s in secrets(20)]
    clean = cost(engine, body(messages(SIZE, 3))[:SIZE], 7)
    found: dict[Recipe, float] = {}
    for atom in [*ATOMS, *values]:
        recipe = Recipe((atom, b" "))
        found[recipe] = cost(engine, recipe.make(SIZE)) / clean  # twice: expressions are compiled at first use
    until, tried = time.monotonic() + seconds, len(found)
    while time.monotonic() < until:
        best = sorted(found, key=lambda recipe: -found[recipe])[:POPULATION]
        found = {recipe: found[recipe] for recipe in best}
        for parent in best:
            recipe = parent.changed(rng, values)
            if recipe not in found:
                tried += 1
                found[recipe] = cost(engine, recipe.make(SIZE)) / clean
    print(f"{tried} texts of {SIZE // 1000} KB tried; clean {clean * 1e3:.1f} ms")
    return sorted(((ratio, recipe) for recipe, ratio in found.items()), key=lambda each: -each[0])


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    engine = engine_of(secrets(20))
    worst = search(engine, seconds, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    clean = cost(engine, body(messages(FINAL, 3))[:FINAL], 5)
    print(
        f"the dearest, times a clean body: of {SIZE // 1000} KB, and of {FINAL // 1_000_000} MB ({clean * 1e3:.1f} ms)"
    )
    for ratio, recipe in worst[:SHOWN]:
        large = cost(engine, recipe.make(FINAL)) / clean
        row = b"".join(recipe.atoms)
        print(f"{ratio:6.1f} {large:6.1f}   {'+'.join(recipe.wraps) or 'plain'}: {row[:90]!r}{' …' * (len(row) > 90)}")
    print("target 20")


if __name__ == "__main__":
    main()
