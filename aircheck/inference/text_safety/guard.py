"""Guard models by their logits: any causal-LM guard of transformers as a text classifier, by path or hub name.

A guard writes «unsafe» or «Yes» and perhaps a category. Nothing is generated here: the answer is given as far as the
token that decides, and the probabilities of that token are the scores. One forward pass answers a question.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from aircheck.inference import transformers_checkpoint
from aircheck.inference.text_safety.checkpoint import load_tokenizer
from aircheck.inference.text_safety.classifier import of_equal_length
from aircheck.inference.text_safety.errors import CheckpointError, LabelMapError
from aircheck.inference.text_safety.guard_card import PASSAGE, GuardCard
from aircheck.inference.transformers_checkpoint import UnusableError
from aircheck.policy.taxonomy import Category

_log = logging.getLogger(__name__)

ROWS = 8
"""Most prompts in one forward pass: a guard's prompt is some hundred tokens long, and a layer's states are wide."""


class GuardTextClassifier:
    """A guard and its card. Weights are read from safetensors only, and no code of a hub is ever run.

    The chat template is the checkpoint's; transformers renders it in a sandbox.
    """

    def __init__(self, checkpoint: str, card: GuardCard, device: torch.device) -> None:
        """Loads the checkpoint (a folder, or a hub name that transformers finds in its cache or downloads).

        Raises CheckpointError when it cannot be loaded or asked, LabelMapError when the card does not fit it.
        """
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        try:
            model: Any = transformers_checkpoint.load_model(AutoModelForCausalLM, checkpoint, dtype)
            self._tokenizer: Any = load_tokenizer(checkpoint, model)
        except UnusableError as fault:
            raise CheckpointError(
                f"guard '{checkpoint}': {fault}. It must be a transformers causal language model with a tokenizer and "
                "safetensors weights, as a local folder or a hub name that is reachable from here"
            ) from fault
        if not self._tokenizer.chat_template:
            raise CheckpointError(
                f"guard '{checkpoint}': it has no chat template; save it beside the model as chat_template.jinja"
            )
        if getattr(model.config, "attention_chunk_size", 0) is None:
            # Llama Guard 4's config.json has null, for one chunk; transformers fails at it (PurpleLlama, issue 119)
            model.config.attention_chunk_size = card.max_tokens
        self._model = model.to(device)
        self._device = device
        self._card = card
        self._special = sorted(set(self._tokenizer.get_added_vocab()), key=len, reverse=True)
        self._verdicts = self._first_tokens(card.verdicts, "verdicts")
        self._codes = self._first_tokens(card.categories, "categories") if card.categories else {}
        self._given = [self._ids(step) for step in card.steps[1:]]
        self.name = Path(checkpoint).name if Path(checkpoint).is_dir() else checkpoint
        self.version = transformers_checkpoint.version(model, checkpoint)
        self.languages = card.languages
        self.categories = tuple(Category)
        self.scores_profanity = True
        self._try(checkpoint)
        if unmapped := card.unmapped():
            _log.warning(
                "guard '%s' never scores: %s (its card names no such category)", self.name, ", ".join(unmapped)
            )

    def _try(self, checkpoint: str) -> None:
        try:
            transformers_checkpoint.try_out(
                lambda: np.concatenate([self.score(["yes"]).ravel(), *self._longest()], axis=None),
                f"answer the questions of {self._card.called}",
                "check that the card, the tokenizer, its chat template and the weights belong together",
            )
        except UnusableError as fault:
            raise CheckpointError(f"guard '{checkpoint}': {fault}") from fault

    def _longest(self) -> list[np.ndarray]:
        """The answers to a passage that fills the prompt, for the first question."""
        return self._answers([self._prompt("yes " * self._card.max_tokens, self._card.asked[0])])

    def _first_tokens(self, texts: Mapping[str, Any], field: str) -> dict[str, int]:
        """The token that each text begins with. Raises LabelMapError when two of different meaning share it."""
        of_token: dict[int, str] = {}
        for text in texts:
            other = of_token.setdefault(self._ids(text)[0], text)
            if texts[other] != texts[text]:
                raise LabelMapError(
                    f"{self._card.called}: {field}: {other!r} and {text!r} begin with the same token for this "
                    "tokenizer and cannot be distinguished; give both the same meaning, or remove one"
                )
        return {text: token for token, text in of_token.items()}

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise LabelMapError(f"{self._card.called}: {text!r} is no token of this tokenizer")
        return ids

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """float32 scores [len(texts), categories]."""
        scores = np.zeros((len(texts), len(Category)), dtype=np.float32)
        if not texts:
            return scores
        for category in self._card.asked:
            read = self._answers([self._prompt(text, category) for text in texts])  # one [texts, tokens] a step
            harmful = self._harmful(read[0])
            if category is not None:
                scores[:, list(Category).index(category)] = harmful
            else:
                scores = np.maximum(scores, harmful[:, None] * self._shares(read[1]))
        return scores

    def _prompt(self, text: str, category: Category | None) -> list[int]:
        """The tokens that come before the verdict; a text that would make them too many is cut."""
        message, arguments = self._card.question(category)
        for special in self._special:  # transcribed text is data: it never closes the turn that it stands in
            text = text.replace(special, " ")
        room = self._card.max_tokens - sum(map(len, self._given))
        ids = self._render(message, text, arguments)
        while len(ids) > room and text:
            frame = len(self._render(message, "", arguments))
            text = self._cut(text, min(room - frame, len(ids) - frame - 1))
            ids = self._render(message, text, arguments)
        if len(ids) > room:
            raise LabelMapError(
                f"{self._card.called}: the prompt has {len(ids)} tokens without any passage; raise max_tokens "
                f"({self._card.max_tokens})"
            )
        return ids

    def _cut(self, text: str, n_tokens: int) -> str:
        ends = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return text[: ends[n_tokens - 1][1]] if 0 < n_tokens <= len(ends) else ""

    def _render(self, message: str, text: str, arguments: Mapping[str, Any]) -> list[int]:
        content: Any = message.replace(PASSAGE, text)
        prompt: str = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": [{"type": "text", "text": content}] if self._card.content_parts else content}],
            tokenize=False,
            add_generation_prompt=self._card.generation_prompt,
            **arguments,
        )
        given = self._card.steps[0]
        # some templates end with the line breaks that others leave to the guard
        while given[:1].isspace() and prompt.endswith(given[0]):
            prompt = prompt[:-1]
        ids: list[int] = self._tokenizer(prompt + given, add_special_tokens=False)["input_ids"]
        return ids

    def _answers(self, prompts: Sequence[list[int]]) -> list[np.ndarray]:
        """Probabilities of the next token at each step, float32 [prompts, tokens that may stand there]."""
        tokens = [list(self._verdicts.values()), list(self._codes.values())][: len(self._card.steps)]
        out = [np.zeros((len(prompts), len(step)), dtype=np.float32) for step in tokens]
        rows = [prompt + [token for given in self._given for token in given] for prompt in prompts]
        for length, chunk in of_equal_length({"input_ids": rows}, self._card.max_tokens):
            for first in range(0, len(chunk), ROWS):
                part = chunk[first : first + ROWS]
                logits = self._logits([rows[index] for index in part], length)  # [rows, kept, vocabulary]
                for step, chosen in enumerate(tokens):
                    at = -1 - sum(map(len, self._given[step:]))
                    out[step][part] = logits[:, at, chosen].softmax(dim=-1).cpu().numpy()
        return out

    @torch.inference_mode()
    def _logits(self, rows: Sequence[list[int]], length: int) -> torch.Tensor:
        """float32 logits at the last positions, as many as are read and one between, [rows, kept, vocabulary].

        Padding stands on the left, so that every row ends at the same place.
        """
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        mask = torch.zeros(len(rows), length, dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, length - len(row) :] = torch.tensor(row)
            mask[index, length - len(row) :] = 1
        positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
        logits: torch.Tensor = self._model(
            input_ids=ids.to(self._device),
            attention_mask=mask.to(self._device),
            position_ids=positions.to(self._device),
            logits_to_keep=1 + sum(map(len, self._given)),
            use_cache=False,
        ).logits
        return logits.float()

    def _harmful(self, probabilities: np.ndarray) -> np.ndarray:
        """How harmful the texts are, [texts], from the probabilities of the verdicts [texts, verdicts]."""
        return probabilities @ np.array([self._card.verdicts[text] for text in self._verdicts], dtype=np.float32)

    def _shares(self, probabilities: np.ndarray) -> np.ndarray:
        """Each category's probability relative to the likeliest one's, [texts, categories].

        The guard names one category first; that one has the whole score, and others by how near they come to it.
        """
        shares = np.zeros((len(probabilities), len(Category)), dtype=np.float32)
        for column, text in enumerate(self._codes):
            if category := self._card.categories[text]:
                shares[:, list(Category).index(category)] += probabilities[:, column]
        unmapped = probabilities[:, [self._card.categories[text] is None for text in self._codes]].sum(axis=1)
        most = np.maximum(shares.max(axis=1), unmapped)
        return shares / np.maximum(most, np.finfo(np.float32).tiny)[:, None]
