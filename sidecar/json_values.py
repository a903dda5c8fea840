"""JSON from outside, read as clients and servers read it. Pure.

orjson is fast and strict; what it refuses and others accept (lone surrogates from servers that cut UTF-16, NaN in log
probabilities, numbers of any length) is read again by the standard library.
"""

import json
from typing import Any

import orjson

_MOST_DIGITS = 4300


def read(data: bytes | bytearray | str) -> Any:
    """The value. Raises ValueError where it is no JSON, RecursionError where it is too deep to tell."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data, parse_int=number)


def number(text: str) -> int | float:
    """A whole number of any length: Python refuses one of more than 4,300 digits, others take it for infinite."""
    return int(text) if len(text) <= _MOST_DIGITS else float(text)
