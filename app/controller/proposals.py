"""What waits for the operator's decision, read from the store. Deciding comes through here as well; nothing else
writes proposals."""

from dataclasses import asdict
from typing import Any

from app.store.base import Store


async def listed(store: Store, *, slug: str | None = None, state: str | None = None) -> list[dict[str, Any]]:
    """Proposals as the API shows them, the oldest first."""
    return [asdict(row) for row in await store.proposals(slug=slug, state=state)]
