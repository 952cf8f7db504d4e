"""YAML files that people write: packs, cards, lists and gates. A fault is named by file, key and remedy."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

_T = TypeVar("_T")


class YamlFileError(ValueError):
    """A file cannot be read, is not YAML, or does not say what it should; the message begins with its path."""


@dataclass(frozen=True)
class YamlFile:
    """A document, and the SHA-256 of the bytes that it was read from."""

    path: Path
    content: Any
    sha256: str

    @classmethod
    def read(cls, path: Path) -> YamlFile:
        """Reads a file of one document.

        Raises:
            YamlFileError: it cannot be read, or is not valid YAML.
        """
        try:
            encoded = path.read_bytes()
            text = encoded.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise YamlFileError(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from None
        try:
            return cls(path, yaml.load(text, Loader=_Loader), hashlib.sha256(encoded).hexdigest())
        except yaml.YAMLError as error:
            raise YamlFileError(f"{path}: not valid YAML: {error}") from None

    def checked(self, model: type[_T], key: str | None = None) -> _T:
        """The content, or what stands under a key of it, as a pydantic model or another type.

        Raises:
            YamlFileError: it does not fit; every fault is listed.
        """
        try:
            return TypeAdapter(model).validate_python(self.content if key is None else self.content[key])
        except ValidationError as error:
            faults = [_fault(details) for details in error.errors(include_url=False)]
            raise YamlFileError(f"{self.path}: " + "\n  ".join(faults)) from None


class _Loader(yaml.SafeLoader):
    """As PyYAML's, except that a key may stand only once in a mapping.

    YAML forbids that, but PyYAML silently keeps the last, so that a line of a policy or label map would do nothing.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            line = key.start_mark.line + 1
            if key.value in lines:
                raise yaml.YAMLError(
                    f"key {key.value!r} of line {lines[key.value]} is repeated in line {line}; keep one of the two"
                )
            lines[key.value] = line
        return super().construct_mapping(node, deep)


def _fault(details: Any) -> str:
    """One pydantic error as `key.path[0]: what is wrong, got …`."""
    found, kind = details["input"], details["type"]
    keys = details["loc"]
    if keys[-1:] == ("[key]",):
        keys = keys[:-2] if kind == "string_type" else keys[:-1]  # a key that is no text cannot be shown as one
    where = _where(keys)
    if kind == "missing":
        return f"{where}: is missing; add it"
    if kind == "value_error":
        return f"{where}: {details['ctx']['error']}"
    if kind in ("model_type", "dict_type"):
        return f"{where}: holds {type(found).__name__}, not a mapping"
    hint = "; quote it" if kind == "string_type" and not isinstance(found, list | dict) else ""
    return f"{where}: {details['msg']}, got {found!r:.80}{hint}"


def _where(keys: Sequence[int | str]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".") or "the file"
