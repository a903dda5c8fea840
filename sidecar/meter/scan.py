"""Where strings and brackets of JSON lie in bytes that arrive in any pieces. Linear; owns the expressions only.

Possessive quantifiers (`*+`) never go back, so no input makes them slow.
"""

import re

STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
"""Inside a string: up to its closing quote, the end of the piece, or a backslash that ends the piece."""

STRUCTURE = re.compile(rb'[^"{}\[\]]*+')
"""Outside of strings: up to the next quote or bracket."""

MEMBERS = re.compile(rb'[^"{}\[\],:]*+')
"""The same, stopping at colons and commas too."""

MOST_DEPTH = 256
"""Brackets inside brackets beyond which bytes are no provider's answer: reading stops instead of following them."""

QUOTE, ESCAPE, COMMA, COLON = 0x22, 0x5C, 0x2C, 0x3A
OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY = 0x7B, 0x7D, 0x5B, 0x5D
OPENING = frozenset((OPEN_OBJECT, OPEN_ARRAY))
CLOSING = frozenset((CLOSE_OBJECT, CLOSE_ARRAY))
