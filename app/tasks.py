"""The only way to start an asyncio task on the host side: the sidecar's, under the app's name."""

from sidecar.tasks import cancel_and_wait, spawn

__all__ = ["cancel_and_wait", "spawn"]
