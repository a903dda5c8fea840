"""Collects the frames of a WebSocket into messages. Bounded; knows nothing of what they say."""

# wsproto is typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeArgument=false
# pyright: reportUnknownParameterType=false, reportUnknownArgumentType=false

from wsproto.events import Message, TextMessage

MAX_MESSAGE = 64 * 1024 * 1024
"""As large as a request body may be."""


class TooLarge(Exception):
    """A message does not end."""


class Collector:
    """One direction."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, frame: Message) -> str | bytes | None:
        """The message that ends with this frame, or None. Raises TooLarge."""
        self._size += len(frame.data)
        if self._size > MAX_MESSAGE:
            raise TooLarge
        if isinstance(frame, TextMessage):
            self._texts.append(str(frame.data))
        else:
            self._pieces.append(bytes(frame.data))
        if not frame.message_finished:
            return None
        whole = "".join(self._texts) if isinstance(frame, TextMessage) else b"".join(self._pieces)
        self._texts, self._pieces, self._size = [], [], 0
        return whole
