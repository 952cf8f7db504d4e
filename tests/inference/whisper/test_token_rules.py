"""The vectorised token rules against openai-whisper's logit filters and greedy decoder, on arbitrary logits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from whisper.decoding import ApplyTimestampRules, GreedyDecoder, SuppressBlank, SuppressTokens
from whisper.tokenizer import Tokenizer, get_tokenizer

from aircheck.inference.whisper.decoding.token_rules import DETECT, SlotState, TokenRules, suppressed_tokens
from support.whisper_models import CPU

N_STEPS = 40
N_ROWS = 6


def sampled_by_openai_whisper(tokenizer: Tokenizer, steps: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The tokens [B, steps] and sums of log-probabilities [B] that openai-whisper samples from these logits."""
    begin = len(tokenizer.sot_sequence)
    # <|notimestamps|> is the timestamp rules' to suppress
    suppress = [token for token in suppressed_tokens(tokenizer) if token != tokenizer.no_timestamps]
    filters = [
        SuppressBlank(tokenizer, begin),
        SuppressTokens(suppress),
        ApplyTimestampRules(tokenizer, begin, max_initial_timestamp_index=50),
    ]
    greedy = GreedyDecoder(temperature=0, eot=tokenizer.eot)
    tokens = torch.tensor([tokenizer.sot_sequence]).repeat(N_ROWS, 1)
    sum_logprobs = torch.zeros(N_ROWS)
    for step in steps:
        logits = step.clone()
        for rule in filters:
            rule.apply(logits, tokens)
        tokens, _ = greedy.update(tokens, logits, sum_logprobs)
    return tokens[:, begin:], sum_logprobs


@pytest.mark.parametrize("multilingual", [False, True], ids=["english", "multilingual"])
@pytest.mark.parametrize("spread", [1.0, 2.5, 6.0], ids=["timestamps-likely", "mixed", "text-likely"])
def test_choices_are_openai_whispers(multilingual: bool, spread: float) -> None:
    tokenizer = get_tokenizer(multilingual, language="en", task="transcribe")
    n_vocab = tokenizer.encoding.n_vocab
    generator = torch.Generator().manual_seed(int(spread * 10))
    steps = [torch.randn(N_ROWS, n_vocab, generator=generator) * spread for _ in range(N_STEPS)]
    for step in steps[N_STEPS // 2 :]:
        step[:, tokenizer.eot] += spread * torch.randn(N_ROWS, generator=generator).abs() * 3  # rows end here and there
    expected, expected_sums = sampled_by_openai_whisper(tokenizer, steps)

    rules = TokenRules(
        tokenizer,
        n_vocab=n_vocab,
        n_audio_ctx=1500,
        n_positions=448,
        max_initial_timestamp_s=1.0,
        is_multilingual=multilingual,
        seed=0,
        device=CPU,
    )
    state = SlotState.create(N_ROWS + 2, CPU)
    rules.start(state, range(N_ROWS), [0.0] * N_ROWS, [tokenizer.sot_sequence[1] if multilingual else DETECT] * N_ROWS)
    for token in tokenizer.sot_sequence[1:]:
        given = rules.choose(torch.randn(N_ROWS, n_vocab, generator=generator), state)[0]
        assert given.tolist() == [token] * N_ROWS, "the prompt is given, not chosen"
    tokens, sums = [], torch.zeros(N_ROWS)
    for step in steps:
        over = torch.stack([torch.zeros(N_ROWS), *tokens]).eq(tokenizer.eot).any(dim=0)
        said, so_far, *_ = rules.choose(step.clone(), state)
        tokens.append(said.masked_fill(over, tokenizer.eot))
        sums = torch.where(over, sums, so_far)

    assert torch.stack(tokens, dim=1).tolist() == expected.tolist()
    torch.testing.assert_close(sums, expected_sums, rtol=1e-4, atol=1e-3)
