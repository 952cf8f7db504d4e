"""What the parts of a policy pack have in common: strict keys, and under which conditions a part applies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from aircheck_client.schema import Context

CONTENT_TYPES: tuple[str, ...] = get_args(Context.model_fields["content_type"].annotation)
AUDIENCES: tuple[str, ...] = get_args(Context.model_fields["audience"].annotation)


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: object) -> object:
        """Name the unknown key and the allowed ones; pydantic's own message leaves the reader to guess."""
        if isinstance(data, dict):
            reject_unknown(data, allowed=tuple(cls.model_fields))
        return data


def reject_unknown(data: Mapping[Any, object], allowed: tuple[str, ...]) -> None:
    unknown = [str(key) for key in data if key not in allowed]
    if unknown:
        raise ValueError(
            f"unknown key {', '.join(map(repr, unknown))}; rename or remove it; allowed: {', '.join(allowed)}"
        )


def _content_type(value: object) -> object:
    if value not in CONTENT_TYPES:
        raise ValueError(f"{value!r} is not a content type; use one of {', '.join(CONTENT_TYPES)}")
    return value


def _audience(value: object) -> object:
    if value not in AUDIENCES:
        raise ValueError(f"{value!r} is not an audience; use one of {', '.join(AUDIENCES)}")
    return value


def _market(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("YAML reads an unquoted NO as false; for Norway, quote it: 'NO'")
    if not (isinstance(value, str) and len(value) == 2 and value.isascii() and value.isalpha() and value.isupper()):
        raise ValueError(f"{value!r} is not a market; use an ISO 3166-1 alpha-2 code in capitals, such as SE")
    return value


class When(Strict):
    """Where an override applies: all the conditions given must hold; within one, any of its values."""

    content_type: tuple[Annotated[str, BeforeValidator(_content_type)], ...] = ()
    market: tuple[Annotated[str, BeforeValidator(_market)], ...] = ()
    audience: tuple[Annotated[str, BeforeValidator(_audience)], ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> When:
        if not (self.content_type or self.market or self.audience):
            raise ValueError(
                "names neither content_type nor market nor audience; to change the levels everywhere, edit them above"
            )
        return self

    def matches(self, context: Context) -> bool:
        """A context whose market is `*` matches no market condition."""
        return (
            (not self.content_type or context.content_type in self.content_type)
            and (not self.market or context.market in self.market)
            and (not self.audience or context.audience in self.audience)
        )
