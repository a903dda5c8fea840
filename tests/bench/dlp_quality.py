"""How good the detectors are: the tables of docs/dlp.md.

    python -m tests.bench dlp_quality

Credentials are made afresh from the form of each vendor's tokens, and by the tools that make real ones; no rule was
written from these strings, but some were mended after they met them: `MENDED` (docs/dlp.md).
Near misses are the same forms with one thing wrong: a checksum, a length, a
letter, no keyword. The benign text lies on this machine: sources, dependencies, lock files, scripts, pictures, logs.
"""

import base64
import json
import random
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from sidecar.dlp.engine import Engine, EngineConfig, shapes
from sidecar.dlp.finding import Location
from tests.bench import _dlp_benign as daily
from tests.bench import _dlp_platforms as platforms
from tests.bench import _dlp_services as services
from tests.bench._dlp_computed import TOOLS
from tests.bench._dlp_formats import FORMATS
from tests.bench._dlp_near import near
from tests.bench._dlp_samples import DOCUMENTED, MADE, Maker
from tests.bench.dlp import log_lines
from tests.sidecar.dlp.dlp_kit import ENCODERS, INJECTED, PLACEMENTS, engine_for, make_secret, scan

BODY = Location("body")
EACH = 40
MOST = 12_000_000
ROOT = Path(__file__).parent.parent.parent
TOOL = "made by its tool"
SOURCES: dict[str, dict[str, Maker]] = {
    "vendor documentation": DOCUMENTED | platforms.VENDOR | services.VENDOR,
    "public secret-scanning documentation": platforms.SCANNING | services.SCANNING,
    "general knowledge": FORMATS | platforms.KNOWN | services.KNOWN,
    TOOL: MADE | TOOLS,
}
LEFT_OUT = services.LEFT_OUT
# The rule or the string was changed after they first met: these are no independent evidence.
MENDED = frozenset(
    {
        "adyen-api-key",
        "azure-storage-key-unmarked",
        "brave-search-key",
        "digitalocean-spaces-key",
        "gemfury-token",
        "generic-assignment",
        "google-oauth-refresh-token",
        "gradle-plugin-secret",
        "intercom-token",
        "jfrog-api-key",
        "jina-api-key",
        "jwk-private-key",
        "logzio-token",
        "mapbox-secret-token",
        "modal-token",
        "mollie-api-key",
        "newrelic-admin-key",
        "npm-basic-auth",
        "nuget-key",
        "salesforce-refresh-token",
        "slack-config-token",
        "sourcehut-token",
        "ssh2-private-key",
        "stytch-secret",
        "typeform-token",
        "upstash-token",
        "vault-unseal-key",
        "webex-bot-token",
        "x-bearer-token",
        "zhipu-api-key",
        "zulip-api-key",
    }
)


def places(value: str, rng: random.Random) -> bytes:
    """A value where values stand: JSON, a shell, a header, a URL, a log."""
    form = rng.choice(
        (
            "export THE_KEY={}",
            '{{"role": "tool", "content": "ran it\\nkey: {}\\n"}}',
            "Authorization: Bearer {}",
            "the value is `{}`, as you see.",
            "https://x.example/?a=1&t={}",
        )
    )
    if "\n" in value or '"' in value or " " in value:
        return json.dumps({"content": f"it is\n{value}\nthere"}).encode()
    return form.format(value).encode()


@dataclass
class Tally:
    """What one source found, in sum."""

    types: int = 0
    whole: int = 0
    independent: int = 0
    strings: int = 0
    found: int = 0
    near: int = 0
    tried: int = 0
    taken: int = 0


def credentials(engine: Engine) -> None:
    print("\n| type | source | found | near misses taken for it |\n| --- | --- | --- | --- |")
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    for source, made in SOURCES.items():
        tally = tallies[source]
        for kind, make in sorted(made.items()):
            rng = random.Random(f"documented form {kind}")
            count = EACH if source != TOOL else 12
            found = sum(_has(engine, kind, make, rng) for _ in range(count))
            missed = near(kind, make)
            wrong = "–"
            if missed:
                taken = sum(_has(engine, kind, missed[1], rng) for _ in range(EACH))
                wrong = f"{taken} of {EACH} ({missed[0]})"
                tally.near += 1
                tally.tried += EACH
                tally.taken += taken
            tally.types += 1
            tally.whole += found == count
            tally.independent += kind not in MENDED
            tally.strings += count
            tally.found += found
            mark = ", mended" if kind in MENDED else ""
            print(f"| {kind} | {source}{mark} | {found} of {count} | {wrong} |")
    _sum(tallies)


def _sum(tallies: dict[str, Tally]) -> None:
    print("\n| source | types | independent | all found | strings found | near misses taken for one |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = tallies | {"**all**": Tally(*(sum(values) for values in zip(*map(astuple, tallies.values()), strict=True)))}
    for source, row in rows.items():
        found = f"{row.found:,} of {row.strings:,} ({100 * row.found / row.strings:.1f} %)"
        taken = f"{row.taken:,} of {row.tried:,} ({row.near} types)"
        print(f"| {source} | {row.types} | {row.independent} | {row.whole} | {found} | {taken} |")
    print(f"\nno second strings: {', '.join(LEFT_OUT)}", flush=True)


def _has(engine: Engine, kind: str, make: Maker, rng: random.Random) -> bool:
    return any(each.kind == kind for each in engine.scan(places(make(rng), rng), where=BODY).findings)


def known_secrets() -> None:
    """Secrets of a seed of its own in every encoding, singly and in pairs, everywhere."""
    rng = random.Random(2027)
    secrets = tuple(make_secret(rng, number % 5, rng.randint(32, 120)) for number in range(20))
    engine = engine_for(secrets)
    missed: list[str] = []
    count = 0

    def one(index: int, value: bytes, place: str, label: str) -> None:
        nonlocal count
        count += 1
        found = scan(engine, PLACEMENTS[place](value, rng))
        if not any(each.kind == f"SECRET_{index}" and each.severity == "block" for each in found.findings):
            missed.append(f"{label} in {place}")

    for index, secret in enumerate(secrets):
        for name, encode in {**ENCODERS, **INJECTED}.items():
            for place in PLACEMENTS:
                one(index, encode(secret.encode(), rng), place, name)
    pairs = [(outer, inner) for outer in ENCODERS for inner in ENCODERS if "raw" not in (outer, inner)]
    for at in range(6 * len(pairs)):
        outer, inner = pairs[at % len(pairs)]
        index = rng.randrange(len(secrets))
        value = ENCODERS[outer](ENCODERS[inner](secrets[index].encode(), rng), rng)
        one(index, value, rng.choice(list(PLACEMENTS)), f"{outer} of {inner}")
    print(f"\nknown secrets: {count - len(missed)} of {count} found ({100 - 100 * len(missed) / count:.2f} %)")
    for label in missed[:20]:
        print("    missed:", label)


def corpora() -> Iterator[tuple[str, Iterator[bytes]]]:
    rng = random.Random(3)
    home = Path(sysconfig.get_path("purelib"))
    scripts = [Path("/usr/lib/node_modules"), Path.home() / ".cache/carboy-tests", ROOT]
    yield "standard library (Python)", _files([Path(sysconfig.get_path("stdlib"))], ".py")
    yield "dependencies (Python)", _files([home], ".py", ".pyi")
    yield "dependencies (text, data)", _files([home], ".md", ".txt", ".rst", ".json", ".toml", ".yaml", "METADATA")
    yield (
        "this repository",
        _files([ROOT / name for name in ("app", "sidecar", "docs", "manifests")], ".py", ".md", ".tcss"),
    )
    yield "lock files", _files(scripts, ".lock", "package-lock.json", ".package-lock.json", "lock.txt")
    yield "scripts (JavaScript)", _files(scripts[:2], ".js", ".mjs", ".ts")
    yield "manuals", _files([Path("/usr/share/doc"), Path("/usr/share/perl")], "", ".txt", ".pod", ".pm", ".html")
    yield (
        "states, manifests, logs, public keys, lists of numbers, made",
        (form.encode() for seed in range(8) for _, text in daily.texts(seed) for form in (text, json.dumps([text]))),
    )
    yield "logs", iter([log_lines(rng, 2000).encode() for _ in range(40)])
    images = list(_files([*scripts[:2], home], ".png", ".gif", ".jpg", ".ico", ".woff2"))
    yield (
        "images in base64",
        iter([base64.b64encode(data) for data in (*images, *(rng.randbytes(200_000) for _ in range(50)))]),
    )


def _files(roots: list[Path], *ends: str) -> Iterator[bytes]:
    size = 0
    for root in roots:
        for path in sorted(root.rglob("*")) if root.exists() else []:
            own = path.name in ends or path.suffix in ends
            if not own or path.is_symlink() or ".venv" in path.relative_to(root).parts or not path.is_file():
                continue
            data = path.read_bytes()
            if path.suffix in ("", ".txt") and b"\0" in data:
                continue
            size += len(data)
            yield data
            if size > MOST:
                return


def benign(engine: Engine) -> None:
    print("\n| benign text | MB | blocked | per MB | as |\n| --- | --- | --- | --- | --- |")
    for name, texts in corpora():
        size = 0
        kinds: defaultdict[str, int] = defaultdict(int)
        for data in texts:
            size += len(data)
            for finding in engine.scan(data, where=BODY, examples="warn").findings:
                if finding.severity == "block":
                    kinds[finding.kind] += 1
        total = sum(kinds.values())
        what = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items(), key=lambda each: -each[1])[:6])
        print(f"| {name} | {size / 1e6:.1f} | {total} | {total / max(size, 1) * 1e6:.2f} | {what or '–'} |", flush=True)


def main() -> None:
    print(f"{len(shapes().rules)} rules")
    rng = random.Random(1)
    engine = engine_for(tuple(make_secret(rng, number % 5, 48) for number in range(20)))
    credentials(Engine.compile(EngineConfig()))
    known_secrets()
    benign(engine)


if __name__ == "__main__":
    main()
