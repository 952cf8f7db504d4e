"""Between the schema's models and the messages of `aircheck.v1`: the same fields, so one walk serves all of them.

A member of an enumeration is `block` in the schema (and in JSON), and `ACTION_BLOCK` in the contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from pydantic import BaseModel

_M = TypeVar("_M", bound=Message)
_T = TypeVar("_T", bound=BaseModel)


def to_message(model: BaseModel, message: _M) -> _M:
    """Fills an empty message of the model's name; returns it."""
    _fill(message, {name: getattr(model, name) for name in type(model).model_fields})
    return message


def from_message(message: Message, model: type[_T]) -> _T:
    """The model that a message stands for. Raises pydantic's ValidationError when it stands for none.

    A member of an enumeration that is not set takes the model's default.
    """
    return model.model_validate(_plain(message))


def _fill(message: Message, values: Mapping[str, Any]) -> None:
    fields = message.DESCRIPTOR.fields_by_name
    for name, value in values.items():
        if value is None:
            continue
        field = fields[name]
        target: Any = getattr(message, name) if field.is_repeated or field.message_type else None
        if _is_map(field):
            for key, item in value.items():
                if field.message_type.fields_by_name["value"].message_type:
                    _fill_from(target[key], item)
                else:
                    target[key] = item
        elif field.is_repeated and field.message_type:
            for item in value:
                _fill_from(target.add(), item)
        elif field.is_repeated:
            target.extend(value)
        elif field.message_type:
            target.SetInParent()
            _fill_from(target, value)
        elif field.enum_type:
            setattr(message, name, _numbers(field.enum_type)[str(value)])
        else:
            setattr(message, name, value)


def _fill_from(message: Message, model: BaseModel) -> None:
    _fill(message, {name: getattr(model, name) for name in type(model).model_fields})


def _plain(message: Message) -> dict[str, Any]:
    """The message's fields as the models take them; what is not set, where that can be told, is left out."""
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if _is_map(field):
            is_message = field.message_type.fields_by_name["value"].message_type is not None
            values[field.name] = {key: _plain(item) if is_message else item for key, item in value.items()}
        elif field.is_repeated:
            values[field.name] = [_plain(item) if field.message_type else item for item in value]
        elif field.has_presence and not message.HasField(field.name):
            continue
        elif field.message_type:
            values[field.name] = _plain(value)
        elif field.enum_type:
            if value:
                values[field.name] = _names(field.enum_type).get(value, f"{field.enum_type.name} {value}")
        else:
            values[field.name] = value
    return values


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


@cache
def _names(enum: EnumDescriptor) -> dict[int, str]:
    """Numbers to the schema's members: 5 to `block`. The common prefix is that of the zero, `..._UNSPECIFIED`."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {value.number: value.name.removeprefix(prefix).lower() for value in enum.values if value.number}


@cache
def _numbers(enum: EnumDescriptor) -> dict[str, int]:
    return {name: number for number, name in _names(enum).items()}
