"""Guard cards: how a causal language model that was trained as a guard is asked, and how its answer is read (YAML)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from aircheck.inference.text_safety.errors import LabelMapError
from aircheck.policy.taxonomy import TAXONOMY, Category
from aircheck.yaml_files import parse

PASSAGE, DEFINITION, TITLE = "{passage}", "{definition}", "{title}"
VERDICT, CATEGORY = "{verdict}", "{category}"


class GuardCard(BaseModel):
    """A guard card, as the files `guard_*.yaml` in `server_config/labels/` spell it.

    The prompt is the checkpoint's own chat template around `message`. The guard would go on with `answer`; where
    `{verdict}` and `{category}` stand in it, the probabilities of the next token are read. A guard either tells the
    category itself (`categories`), or is asked once for each (`questions`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["guard"]
    source: str = Field(pattern=r"^https://", description="where the guard's makers document the format")
    languages: tuple[Annotated[str, Field(pattern="^[a-z]{2,3}$")], ...] = Field(
        default=(), description="ISO 639-1 codes of the languages that the guard covers; empty for any"
    )
    max_tokens: int = Field(ge=16, le=32768, description="longest prompt, answer included")
    message: str = Field(default=PASSAGE, description="what the user says, with {passage}, {title} and {definition}")
    content_parts: bool = Field(default=False, description="the chat template wants content as a list of parts")
    generation_prompt: bool = Field(default=False, description="ask the chat template to open the guard's turn")
    arguments: dict[str, Any] = Field(default_factory=dict, description="further arguments of the chat template")
    answer: str = Field(description="the guard's answer, read at {verdict} and, for `categories`, at {category}")
    verdicts: dict[str, Annotated[float, Field(ge=0.0, le=1.0)]] = Field(
        min_length=2, description="what may stand at {verdict}, and how harmful that is"
    )
    categories: dict[str, Category | None] = Field(
        default_factory=dict, description="what may stand at {category}; null for what is no harm of ours"
    )
    questions: dict[Category, dict[str, Any]] = Field(
        default_factory=dict, description="categories to ask for one by one, and what `arguments` each adds"
    )

    _called: str = PrivateAttr("the guard card")

    @model_validator(mode="after")
    def _fits_together(self) -> GuardCard:
        if bool(self.categories) == bool(self.questions):
            raise ValueError("give either categories (the guard names one) or questions (it is asked for each)")
        wanted = [VERDICT, CATEGORY] if self.categories else [VERDICT]
        if [self.answer.count(mark) for mark in (VERDICT, CATEGORY)] != [int(m in wanted) for m in (VERDICT, CATEGORY)]:
            raise ValueError(f"answer must hold {' and then '.join(wanted)}, once")
        if not self.answer.endswith(wanted[-1]):
            raise ValueError(f"answer must end with {wanted[-1]}: what follows it is never read")
        if self.message.count(PASSAGE) != 1:
            raise ValueError("message must hold {passage} once")
        if not (max(self.verdicts.values()) == 1.0 and min(self.verdicts.values()) == 0.0):
            raise ValueError("verdicts must hold one that is harmful (1.0) and one that is not (0.0)")
        return self

    @classmethod
    def read(cls, path: Path) -> GuardCard:
        """The card at `path`. Raises LabelMapError that names the file and the fault."""
        try:
            card = cls.model_validate(parse(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise LabelMapError(f"guard card {path}: cannot be read as YAML: {error}") from None
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}"
                for fault in error.errors(include_url=False)
            )
            raise LabelMapError(f"guard card {path}: {faults}") from None
        card._called = f"guard card {path}"
        return card

    @property
    def called(self) -> str:
        """The card by its file, for messages."""
        return self._called

    @property
    def asked(self) -> tuple[Category | None, ...]:
        """The questions of a passage: a category each, or None for a single one that asks for all."""
        return tuple(self.questions) or (None,)

    @property
    def steps(self) -> tuple[str, ...]:
        """What of the answer is given before each token that is read."""
        given, _, rest = self.answer.partition(VERDICT)
        return (given, rest.removesuffix(CATEGORY)) if self.categories else (given,)

    def unmapped(self) -> tuple[Category, ...]:
        """Categories that the guard never scores."""
        scored = {*self.questions, *self.categories.values()}
        return tuple(category for category in Category if category not in scored)

    def question(self, category: Category | None) -> tuple[str, dict[str, Any]]:
        """The message, {passage} still in it, and the chat template's arguments."""
        arguments = {**self.arguments, **(self.questions[category] if category else {})}
        return _filled(self.message, category), _filled(arguments, category)


def is_guard_card(path: Path) -> bool:
    """Whether a file for `text_labels` is a guard card rather than a label map. Unreadable files are neither."""
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(content, Mapping) and content.get("kind") == "guard"


def _filled(value: Any, category: Category | None) -> Any:
    """`value` with {title} and {definition} of the category in each of its strings."""
    if isinstance(value, Mapping):
        return {key: _filled(item, category) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, category) for item in value]
    if isinstance(value, str) and category:
        description = TAXONOMY[category]
        definition = description.definition[0].lower() + description.definition[1:].rstrip(".")
        return value.replace(TITLE, description.title).replace(DEFINITION, definition)
    return value
