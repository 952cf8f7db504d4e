"""Guard cards: how a causal language model that was trained as a guard is asked, and how its answer is read (YAML)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from aircheck.inference.text_safety.card import Card
from aircheck.policy.taxonomy import TAXONOMY, Category

PASSAGE, DEFINITION, TITLE = "{passage}", "{definition}", "{title}"
VERDICT, CATEGORY = "{verdict}", "{category}"


class GuardCard(Card):
    """A guard card, as the files `guard_*.yaml` in `server_config/labels/` spell it.

    The prompt is the checkpoint's own chat template around `message`. The guard would go on with `answer`; where
    `{verdict}` and `{category}` stand in it, the probabilities of the next token are read. A guard either tells the
    category itself (`categories`), or is asked once for each (`questions`).
    """

    kind: Literal["guard"]
    source: str = Field(pattern=r"^https://", description="where the guard's makers document the format")
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
