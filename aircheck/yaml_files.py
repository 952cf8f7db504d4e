"""YAML as PyYAML reads it, except that a key may stand only once."""

from __future__ import annotations

from typing import Any

import yaml


def parse(text: str) -> Any:
    """The document's content. Raises yaml.YAMLError, also for a key written twice in one mapping.

    YAML forbids that, but PyYAML silently keeps the last, so that a line of a policy or label map would do nothing.
    """
    if repeated := _repeated_key(yaml.compose(text, Loader=yaml.SafeLoader)):
        raise yaml.YAMLError(repeated)
    return yaml.safe_load(text)


def _repeated_key(node: yaml.Node | None) -> str:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in seen:
                    return (
                        f"key {key.value!r} of line {seen[key.value]} is repeated in line {line}; keep one of the two"
                    )
                seen[key.value] = line
            if found := _repeated_key(value):
                return found
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            if found := _repeated_key(item):
                return found
    return ""
