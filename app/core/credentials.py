"""Whether a text looks like a credential, by well-known shapes. Pure; a guard for files, not the outbound scanner.

It must never put the value, or a part of it, into what it returns.
"""

import re

_SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("an Anthropic key", r"\bsk-ant-[A-Za-z0-9_-]{16,}"),
        ("an OpenAI or compatible key", r"\bsk-(?:proj-|svcacct-|or-)?[A-Za-z0-9_-]{20,}"),
        ("a GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{22,})"),
        ("a GitLab token", r"\bgl(?:pat|ptt|rt|dt|cbt)-[A-Za-z0-9_-]{16,}"),
        ("an AWS access key id", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
        ("a Google API key", r"\bAIza[A-Za-z0-9_-]{35}"),
        ("a Google access token", r"\bya29\.[A-Za-z0-9_-]{20,}"),
        ("a Slack token", r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"),
        ("an npm token", r"\bnpm_[A-Za-z0-9]{36}"),
        ("a PyPI token", r"\bpypi-[A-Za-z0-9_-]{32,}"),
        ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{30,}"),
        ("a Groq key", r"\bgsk_[A-Za-z0-9]{40,}"),
        ("a Stripe key", r"\b[sr]k_live_[A-Za-z0-9]{16,}"),
        ("a SendGrid key", r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
        ("a DigitalOcean token", r"\bdo[opr]_v1_[a-f0-9]{64}"),
        ("a private key", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"),
        ("a JSON web token", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
        ("a URL with a password", r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{0,100}:[^\s/@]{3,200}@"),
    )
)
MAX_SCANNED = 65536
"""No environment value of a manifest is longer; what is longer is cut, so that the scan's time is bounded."""


def credential_kind(value: str) -> str | None:
    """What kind of credential `value` contains (`a GitHub token`), or None. The value itself is never repeated."""
    text = value[:MAX_SCANNED]
    return next((name for name, shape in _SHAPES if shape.search(text)), None)
