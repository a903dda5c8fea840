"""Outbound scanning against the plain algorithm, interleaved in one run: the table of performance.md.

The plain algorithm is what one writes first with the standard library: normalise, thirty vendor expressions, every
encoded form by `find`, letters and digits alone, windows of twelve, entropy. Bodies are conversations as agents send
them: code with line numbers, diffs, logs, prose, images.
"""

import base64
import codecs
import difflib
import functools
import gc
import gzip
import json
import math
import random
import re
import statistics
import string
import sys
import sysconfig
import time
import unicodedata
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from sidecar import lean, scan_worker
from sidecar.__main__ import SWITCH_SECONDS
from sidecar.dlp.engine import Engine, EngineConfig
from sidecar.dlp.finding import Location
from sidecar.dlp.needles import Known
from sidecar.dlp.searches import PARALLEL, shapes
from sidecar.dlp.session import Session
from sidecar.secret import Secret

BODY = Location("body")
ALNUM = string.ascii_letters + string.digits
TURNS = 60
WORKERS: list[scan_worker.ScanWorker] = []


# --- bodies -------------------------------------------------------------------------------------------------------


def sources() -> list[str]:
    """Source files of the standard library: the code that the conversations are about."""
    root = Path(sysconfig.get_paths()["stdlib"])
    texts: list[str] = []
    for path in sorted(root.rglob("*.py")):
        if {"site-packages", "test"} & set(path.parts):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if 2000 < len(text) < 60_000:
            texts.append(text)
    return texts


def log_lines(rng: random.Random, count: int) -> str:
    lines: list[str] = []
    for _ in range(count):
        day, hour, minute, part = rng.randint(1, 28), rng.randint(0, 23), rng.randint(0, 59), rng.randint(0, 999)
        stamp = f"2026-03-{day:02d}T{hour:02d}:{minute:02d}:07.{part:03d}Z"
        lines.append(
            stamp
            + rng.choice(
                (
                    f" INFO [worker-{rng.randint(1, 16)}] GET /api/v1/items/{rng.randint(1, 9**6)} 200 "
                    f"{rng.randint(1, 900)}ms",
                    f" DEBUG request_id={uuid.UUID(int=rng.getrandbits(128))} user={rng.randint(1, 9999)} cache=miss",
                    f" INFO build layer sha256:{rng.getrandbits(256):064x} pushed in {rng.random() * 9:.2f}s",
                    f" commit {rng.getrandbits(160):040x} (HEAD -> main)",
                    " npm: resolved vite integrity sha512-" + base64.b64encode(rng.randbytes(64)).decode(),
                    f' WARN retrying upstream connect error "connection reset by peer" attempt={rng.randint(1, 5)}',
                )
            )
        )
    return "\n".join(lines)


def tool_result(rng: random.Random, texts: list[str], *, images: bool) -> object:
    text = rng.choice(texts)
    kind = rng.random()
    if kind < 0.45:
        return "\n".join(f"{number + 1:6d}→{line}" for number, line in enumerate(text.splitlines()))
    if kind < 0.65:
        before = text.splitlines()
        after = [line + "  # naïve — see §3" if rng.random() < 0.02 else line for line in before]
        return "\n".join(difflib.unified_diff(before, after, "a", "b", lineterm=""))
    if kind < 0.93 or not images:
        return log_lines(rng, rng.randint(30, 200))
    data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + rng.randbytes(rng.randint(60_000, 150_000))).decode()
    return [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}]


def messages(size: int, seed: int) -> list[dict[str, object]]:
    rng = random.Random(seed)
    texts = sources()
    found: list[dict[str, object]] = [{"role": "user", "content": "Please fix the failing test in the parser."}]
    total = 0
    while total < size:
        call = "toolu_01" + "".join(rng.choices(ALNUM, k=22))
        said = "I'll look at the code next. The parser's error comes from the tokenizer, so let me check it."
        use = {"type": "tool_use", "id": call, "name": "Bash", "input": {"command": "make test 2>&1 | tail -n 200"}}
        result = tool_result(rng, texts, images=size > 400_000)
        found.append({"role": "assistant", "content": [{"type": "text", "text": said}, use]})
        found.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": result}]})
        total += len(json.dumps(found[-2:], ensure_ascii=False).encode())
    return found


def body(conversation: list[dict[str, object]]) -> bytes:
    tools = [{"name": name, "description": f"Use this tool to {name}. " * 40} for name in ("Read", "Edit", "Bash")]
    system = [{"type": "text", "text": "You are a coding agent. " * 400}]
    document = {"model": "m", "max_tokens": 32000, "stream": True, "system": system, "tools": tools}
    return json.dumps(document | {"messages": conversation}, ensure_ascii=False, separators=(",", ":")).encode()


def secrets(count: int) -> list[str]:
    rng = random.Random(7)
    found: list[str] = []
    for number in range(count):
        size = rng.randint(40, 100)
        found.append(
            (
                "".join(rng.choices(ALNUM, k=size)),
                base64.b64encode(rng.randbytes(size * 3 // 4)).decode(),
                f"{rng.getrandbits(4 * size):0{size}x}",
                "sv_" + "".join(rng.choices(ALNUM + "-_./+=!@", k=size - 3)),
                ".".join("".join(rng.choices(ALNUM + "-_", k=size // 3)) for _ in range(3)),
            )[number % 5]
        )
    return found


# --- the plain algorithm ------------------------------------------------------------------------------------------

PLAIN_SHAPES = [
    re.compile(source)
    for source in (
        r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA)[0-9A-Z]{16}\b",
        r"(?i)aws_?secret_?access_?key['\"]?\s*[:=]\s*['\"]?[A-Za-z0-9/+=]{40}",
        *(rf"\b{prefix}_[A-Za-z0-9]{{36,255}}\b" for prefix in ("ghp", "gho", "ghu", "ghs", "ghr")),
        r"\bgithub_pat_[A-Za-z0-9_]{60,255}\b",
        r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,200}\b",
        r"\bsk-ant-[a-z0-9]+-[A-Za-z0-9_-]{20,200}",
        r"\bxox[abprs]-[A-Za-z0-9-]{10,200}\b",
        r"\bxapp-\d-[A-Z0-9]+-\d+-[a-z0-9]+\b",
        r"https://hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]{20,}",
        r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{20,200}\b",
        r"\bAIza[0-9A-Za-z_-]{35}",
        r"\bya29\.[0-9A-Za-z_-]{20,}",
        r"\bGOCSPX-[A-Za-z0-9_-]{28}",
        r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
        r"-----BEGIN (?:[A-Z]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----",
        r"\bnpm_[A-Za-z0-9]{36}\b",
        r"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}",
        r"\bglpat-[A-Za-z0-9_-]{20,}",
        r"\bSK[0-9a-f]{32}\b",
        r"\bAC[0-9a-f]{32}\b",
        r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
        r"\bhf_[A-Za-z0-9]{34,}\b",
        r"\bdop_v1_[a-f0-9]{64}\b",
        r"\bkey-[0-9a-f]{32}\b",
        r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}\b",
        r"\b[MN][A-Za-z\d_-]{23,25}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{27,38}\b",
    )
]
NOT_ALNUM = re.compile(r"[^A-Za-z0-9]+")


def plain_forms(secret: str) -> list[str]:
    raw = secret.encode()
    forms = [secret, secret[::-1], raw.hex(), raw.hex().upper(), urllib.parse.quote(secret, safe="")]
    forms += [json.dumps(secret)[1:-1], base64.b64encode(gzip.compress(raw, mtime=0)).decode()]
    for skip in range(3):
        text = base64.b64encode(b"\0" * skip + raw).decode().rstrip("=")[(0, 2, 3)[skip] : -1]
        forms += [text, text.translate(str.maketrans("+/", "-_"))]
    return [*forms, codecs.encode(secret, "rot13")]


class Plain:
    """The plain algorithm, exactly as one would write it."""

    def __init__(self, values: list[str]) -> None:
        self.forms = [plain_forms(value) for value in values]
        self.projections = [NOT_ALNUM.sub("", value) for value in values]

    def scan(self, data: bytes) -> int:
        text = unicodedata.normalize("NFKC", data.decode("utf-8", "replace"))
        found = sum(1 for shape in PLAIN_SHAPES for _ in shape.finditer(text))
        found += sum(1 for forms in self.forms for form in forms if text.find(form) >= 0)
        letters = NOT_ALNUM.sub("", text)
        for value in self.projections:
            found += any(letters.find(value[at : at + 12]) >= 0 for at in range(len(value) - 11))
        return found + sum(1 for at in range(0, len(text) - 63, 32) if self.bits(text[at : at + 64]) >= 5.2) * 0

    def secrets(self, data: bytes) -> set[str]:
        """Names of the secrets that it finds: by a form of them, or by twelve letters and digits."""
        text = unicodedata.normalize("NFKC", data.decode("utf-8", "replace"))
        letters = NOT_ALNUM.sub("", text)
        return {
            f"SECRET_{number}"
            for number, (forms, value) in enumerate(zip(self.forms, self.projections, strict=True))
            if any(form in text for form in forms)
            or any(value[at : at + 12] in letters for at in range(len(value) - 11))
        }

    @staticmethod
    def bits(window: str) -> float:
        return -sum(count / 64 * math.log2(count / 64) for count in Counter(window).values())


# --- measuring ----------------------------------------------------------------------------------------------------


def seconds(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def interleaved(plain: Callable[[], object], ours: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Medians of the plain one, and of each of ours, which run several times after each run of that."""
    took: list[list[float]] = [[], *([] for _ in ours)]
    for work in ours:
        work()
    for _ in range(rounds):
        took[0].append(seconds(plain))
        for found, work in zip(took[1:], ours, strict=True):
            found += [seconds(work) for _ in range(7)]
    return [statistics.median(each) for each in took]


def engine_of(values: list[str], backend: str | None = None) -> Engine:
    """Compiled, also in the process that helps, where there is one: it learns the needles when a large text comes."""
    known = tuple(Known(f"S{number}", Secret(value)) for number, value in enumerate(values))
    engine = Engine.compile(EngineConfig(known, backend))  # type: ignore[arg-type]
    for worker in WORKERS:
        engine.scan(b"\n" * PARALLEL, where=BODY)
        worker.settle()
    return engine


def row(name: str, plain: float, ours: float, size: int, target: str) -> None:
    print(
        f"{name:34s} plain {plain * 1e3:9.1f} ms   ours {ours * 1e3:8.2f} ms ({size / ours / 1e6:5.0f} MB/s)   "
        f"{plain / ours:6.0f} times   target {target}",
        flush=True,
    )


def single_bodies(engine: Engine, plain: Plain, portable: Engine) -> None:
    for size, rounds, target in ((1_000_000, 5, "200"), (5_000_000, 3, "130")):
        data = body(messages(size, 3))
        slow, fast, other = interleaved(
            functools.partial(plain.scan, data),
            [functools.partial(each.scan, data, where=BODY) for each in (engine, portable)],
            rounds,
        )
        assert engine.scan(data, where=BODY).clean, engine.scan(data, where=BODY).findings
        row(f"{size // 1_000_000} MB", slow, fast, len(data), target)
        row(f"{size // 1_000_000} MB, portable search", slow, other, len(data), str(int(target) // 2))


def conversation(engine: Engine, plain: Plain) -> None:
    """Sixty turns to 1.5 MB, each sending everything before it again. The plain cost is measured on five of them."""
    turns = messages(1_450_000, 9)
    bodies = [body(turns[: len(turns) * turn // TURNS]) for turn in range(1, TURNS + 1)]
    total = sum(map(len, bodies))
    sample = bodies[:: TURNS // 5]
    slow = 0.0
    runs: list[float] = []
    for each in sample:
        slow += seconds(functools.partial(plain.scan, each))
        scan = functools.partial(engine.scan, where=BODY, session=Session())
        runs.append(sum(seconds(lambda data=data, scan=scan: scan(data)) for data in bodies))
    slow *= total / sum(map(len, sample))
    row(f"{TURNS} turns, {total / 1e6:.0f} MB in all", slow, statistics.median(runs), total, "800")


def adversarial(engine: Engine) -> None:
    from tests.sidecar.dlp.test_dlp_engine import HOSTILE

    gc.freeze()  # with what the tests import a look for garbage takes as long as thirty scans
    size = 1_000_000
    clean = body(messages(size, 3))[:size]
    base = statistics.median(seconds(lambda: engine.scan(clean, where=BODY)) for _ in range(7))
    costs: list[tuple[float, str]] = []
    for name, make in sorted(HOSTILE.items()):
        data = make(size)
        costs.append((min(seconds(lambda data=data: engine.scan(data, where=BODY)) for _ in range(2)) / base, name))
    costs.sort(reverse=True)
    print(
        "hostile 1 MB, times a clean one: " + ", ".join(f"{name} {cost:.1f}" for cost, name in costs) + "   target 20"
    )


def many_secrets(engine: Engine) -> None:
    data = body(messages(1_000_000, 3))
    before = time.perf_counter()
    many = engine_of(secrets(100))
    compiling = time.perf_counter() - before
    few_cost = statistics.median(seconds(lambda: engine.scan(data, where=BODY)) for _ in range(15))
    many_cost = statistics.median(seconds(lambda: many.scan(data, where=BODY)) for _ in range(15))
    print(f"100 secrets: {many_cost / few_cost:.2f} times the cost of 20 (compiled in {compiling:.1f} s)   target 3")


def main() -> None:
    sys.setswitchinterval(SWITCH_SECONDS)  # as in a sidecar
    lean.keep_freed()
    shapes()
    shapes("portable")
    WORKERS.append(scan_worker.start())
    values = secrets(20)
    engine, plain, portable = engine_of(values), Plain(values), engine_of(values, "portable")
    gc.collect()
    gc.freeze()  # as in a sidecar
    single_bodies(engine, plain, portable)
    conversation(engine, plain)
    many_secrets(engine)
    adversarial(engine)


if __name__ == "__main__":
    main()
