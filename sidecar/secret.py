"""The type of every real credential. Pure. It has no repr, cannot be pickled, formatted or dumped by accident."""

import hmac
from typing import Any, NoReturn, cast

from pydantic import GetCoreSchemaHandler, SerializationInfo
from pydantic_core import CoreSchema, core_schema

REVEAL = {"reveal": True}
"""Pass as pydantic's serialization context to write secrets onto a channel that may carry them."""


class Secret:
    """A value that must never reach argv, a log, a disk, a repr or the bottle. `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself. Call it where the bytes are written, not earlier."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return "Secret(***)"

    def __len__(self) -> int:
        return len(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret is a way to test guesses

    def __deepcopy__(self, memo: dict[int, Any]) -> "Secret":
        return self  # immutable; pydantic copies defaults

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: Any) -> Secret:
            if isinstance(value, Secret):
                return value
            if isinstance(value, str):
                return cls(value)
            # the value itself must not appear in the error
            raise ValueError("a secret must be text")

        def serialize(value: Any, info: SerializationInfo) -> str:
            context = cast(dict[str, Any], info.context or {})
            if context.get("reveal") is not True:
                raise ValueError("a secret is written only onto a channel that asks for it (context=REVEAL)")
            return cast(Secret, value).reveal()

        return core_schema.no_info_plain_validator_function(
            validate,
            serialization=core_schema.plain_serializer_function_ser_schema(serialize, info_arg=True),
        )
