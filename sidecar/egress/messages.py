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
    """One direction. `held` is how many bytes of an unfinished message are kept: frames without content, and how many
    frames there are, cost nothing."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def held(self) -> int:
        return len(self._data)

    def add(self, frame: Message) -> str | bytes | None:
        """The message that ends with this frame, or None. Raises TooLarge."""
        self._data += content(frame)
        if len(self._data) > MAX_MESSAGE:
            raise TooLarge
        if not frame.message_finished:
            return None
        whole, self._data = bytes(self._data), bytearray()
        return whole.decode() if isinstance(frame, TextMessage) else whole


def content(frame: Message) -> bytes:
    """What a frame carries; text as UTF-8."""
    return str(frame.data).encode() if isinstance(frame, TextMessage) else bytes(frame.data)
