"""The table of all credential types in docs/dlp-types.md, written from the types themselves. Pure but for its `main`.

`python -m sidecar.dlp.patterns.vendors.listing > docs/dlp-types.md`
"""

import sys
from functools import partial

from sidecar.dlp.patterns.model import CredentialType, all_types

_INTRO = """# Credential types

Generated: `python -m sidecar.dlp.patterns.vendors.listing > docs/dlp-types.md`.

What the detector `token_patterns` knows: {types} types of {vendors} vendors and formats. A type **with context** counts
only where one of its names stands within 80 characters before the value: its shape alone says too little. **Verified**
means that a checksum or the structure which the vendor defines is computed, so that a value which only looks like one
is none. Values that a vendor prints in its own documentation are findings too, marked as examples.

| id | vendor | what | with context | verified | examples known |
|---|---|---|---|---|---|
"""


def markdown() -> str:
    """The whole page."""
    types = sorted(all_types(), key=lambda each: (each.vendor.lower(), each.id))
    intro = _INTRO.format(types=len(types), vendors=len({each.vendor for each in types}))
    return intro + "".join(map(_row, types))


def _row(each: CredentialType) -> str:
    context = ", ".join(f"`{word}`" for word in each.keywords)
    examples = str(len(each.documented)) if each.documented else ""
    return f"| `{each.id}` | {each.vendor} | {each.title} | {context} | {_verified(each)} | {examples} |\n"


def _verified(each: CredentialType) -> str:
    """What the check is called, unless it is the one that only keeps names out."""
    if each.check is None or isinstance(each.check, partial):
        return ""
    name = getattr(each.check, "__name__", "")
    return {"mixed": "", "letters_and_digits": "", "<lambda>": "structure"}.get(name, name.replace("_", " "))


if __name__ == "__main__":
    sys.stdout.write(markdown())
