"""What may be logged of a fault of ours: an exception's type and the places it came through. Its text, and the source
lines, may repeat what the bottle sent. Pure."""

import traceback


def trail(error: BaseException) -> str:
    """`TypeError at server.py:12 in call < bridge.py:40 in _run`, the innermost first."""
    frames = reversed(traceback.extract_tb(error.__traceback__, limit=-12))
    places = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}" for frame in frames)
    return f"{type(error).__name__} at {places}"
