"""Which API an answer is read as: by the request's path, else by what the first telling event looks like. Pure."""

import re
from typing import Literal

from sidecar.meter.dialects.anthropic import Anthropic
from sidecar.meter.dialects.chat import Chat
from sidecar.meter.dialects.gemini import Gemini
from sidecar.meter.dialects.interactions import Interactions
from sidecar.meter.dialects.ollama import Ollama
from sidecar.meter.dialects.responses import Responses
from sidecar.meter.dialects.tally import Tally
from sidecar.meter.loads import Tree

_BY_PATH: tuple[tuple[re.Pattern[str], type[Tally]], ...] = (
    (re.compile(r"/messages$|/anthropic/models/[^/]+:(?:streamR|r)awPredict$"), Anthropic),
    (re.compile(r"/responses(?:/compact|/[A-Za-z0-9_-]+)?$"), Responses),
    (re.compile(r"/(?:chat/)?completions$|/embeddings$|/images/[a-z]+$|/audio/[a-z]+$|/rerank$"), Chat),
    (re.compile(r":(?:streamGenerateContent|generateContent|(?:batch)?[eE]mbedContents?)$"), Gemini),
    (re.compile(r"/interactions$"), Interactions),
    (re.compile(r"/api/(?:chat|generate|embed)$"), Ollama),
)

_COUNTS = re.compile(r"count_?tokens$|/input_tokens$", re.IGNORECASE)
_UPLOADS = re.compile(r"/files(?:/|$)", re.IGNORECASE)
"""Pages of metered hosts that cost nothing though something is posted there: counting, uploading."""

_ASKS_NOTHING = frozenset(("GET", "HEAD", "OPTIONS", "DELETE"))
"""Any other method, also an unknown one, may be taken for a post."""

_DEFERRED = re.compile(
    r"/batch(?:es|/jobs)$|/batch(?:Prediction|Inference)Jobs$|/model-invocation-job$|/async-invoke$"
    r"|:(?:async)?[bB]atchGenerateContent$|:asyncBatchEmbedContent$|:batchPredict$|:predictLongRunning$"
    r"|/(?:fine_tuning|fine-tuning)/jobs$|/fine-tunes$|/videos(?:/[A-Za-z0-9_-]*){0,4}$"
    r"|/sessions(?:/[^/]+/events)?$|/threads/(?:[^/]+/)?runs$|/evals/[^/]+/runs$"
    r"|/realtime/(?:calls|client_secrets|sessions|transcription_sessions)$"
)
"""Work that is accepted now and paid later, with answers that no response of the bottle's shows: batches, trained
models, films, agents that the vendor runs, and keys or calls by which a model is talked to past the bottle. Nothing in
it goes on over any number of parts: a path of 64 KB that repeats one took it seven seconds."""

_RESPONSE = re.compile(r"/responses/[A-Za-z0-9_-]+$")
"""Asked for again with GET: only a background one is news."""

Purpose = Literal["call", "deferred", "unknown", "free"]


def purpose(method: str, path: str) -> Purpose:
    """What a request to a metered host is for. `unknown` ones are read too: a provider may add an endpoint any day."""
    path = path.partition("?")[0].rstrip("/")
    if method in _ASKS_NOTHING and not (method == "GET" and _RESPONSE.search(path)):
        return "free"
    if _COUNTS.search(path):
        return "free"
    if (
        by_path(path) is not None
    ):  # before what only looks free: some hosts have models/ or files/ in front of all paths
        return "call"
    if _DEFERRED.search(path):
        return "deferred"
    return "free" if _UPLOADS.search(path) else "unknown"


def uploads(method: str, path: str) -> bool:
    """Whether the body may be a file of any kind."""
    path = path.partition("?")[0].rstrip("/")
    return purpose(method, path) == "free" and not _COUNTS.search(path) and _UPLOADS.search(path) is not None


def by_path(path: str) -> Tally | None:
    path = path.partition("?")[0].rstrip("/")
    found = next((kind for pattern, kind in _BY_PATH if pattern.search(path)), None)
    return found() if found else None


def by_event(event: Tree) -> Tally | None:
    """The dialect that this object is written in; None if it tells nothing."""
    kind = event.get("type")
    if kind in ("message_start", "message_delta") or (kind == "message" and "usage" in event):
        return Anthropic()
    if (isinstance(kind, str) and kind.startswith("response.")) or event.get("object") == "response":
        return Responses()
    if event.get("object") == "interaction" or str(event.get("event_type", "")).startswith("interaction."):
        return Interactions()
    if "usageMetadata" in event or "candidates" in event:
        return Gemini()
    if "choices" in event or "usage" in event:
        return Chat()
    return Ollama() if "eval_count" in event or "prompt_eval_count" in event else None
