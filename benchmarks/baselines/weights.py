"""One Whisper checkpoint in the format of every engine: openai-whisper's, transformers', CTranslate2's.

The same weights, written side by side into a folder. No hub is asked: vocabularies come from openai-whisper's package.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperForConditionalGeneration,
    logging,
)
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import LANGUAGES, get_tokenizer
from whisper.tokenizer import Tokenizer as WhisperTokenizer

from aircheck.inference.whisper.decoding.token_rules import suppressed_tokens

OPENAI = "openai.pt"
TRANSFORMERS = "transformers"
MULTILINGUAL, LARGE_V3 = 51865, 51866
_TOKEN_LOGIT_SPREAD = 8.0  # standard deviation of random logits: text mostly wins against all timestamps together
_CERTAIN_LOGIT_SPREAD = 24.0  # the best of 50,000 is likelier than all others together
_LOUD = 10.0  # of positions, against the sum of all layers' contributions
_NEVER_LOGIT = -100.0  # of the end of text: far below the best of 50,000 random logits, in any precision
_MAX_INITIAL_TIMESTAMP = 50  # of 0.02 s: openai-whisper's 1 s
_EOT = "<|endoftext|>"


def _dims(
    n_mels: int, n_vocab: int, width: int, heads: int, encoder_layers: int, decoder_layers: int
) -> ModelDimensions:
    return ModelDimensions(
        n_mels=n_mels,
        n_audio_ctx=1500,
        n_audio_state=width,
        n_audio_head=heads,
        n_audio_layer=encoder_layers,
        n_vocab=n_vocab,
        n_text_ctx=448,
        n_text_state=width,
        n_text_head=heads,
        n_text_layer=decoder_layers,
    )


SHAPES = {
    "tiny": _dims(80, MULTILINGUAL, 384, 6, 4, 4),
    "base": _dims(80, MULTILINGUAL, 512, 8, 6, 6),
    "small": _dims(80, MULTILINGUAL, 768, 12, 12, 12),
    "turbo": _dims(128, LARGE_V3, 1280, 20, 32, 4),
    "large-v3": _dims(128, LARGE_V3, 1280, 20, 32, 32),
}
"""openai-whisper's own sizes."""


def ctranslate2_folder(quantisation: str) -> str:
    """Where the CTranslate2 model of this quantisation ("int8", "float32") lies within the folder."""
    return f"ctranslate2-{quantisation}"


def random_model(dims: ModelDimensions, seed: int, *, ends_after: int | None = None) -> Whisper:
    """Random weights that say as many tokens as they are asked to: until a limit stops them, or `ends_after`.

    The last layer norm adds 1 to every state. A token's row of zero mean cannot see that; the rows of the end of text
    and the other markers are the constant -c, whose logit is then -c·n whatever was heard, since a normalised state
    has zero mean: no text ever ends by itself, and a limit on tokens sets each window's length.

    ends_after : sampled tokens after which every text ends by itself, in models that are not English-only. Positions
        from there on add so much of one direction to the state that nothing else is left of it, and the row of the end
        of text is that direction. Positions before it say something different each, with certainty, so that the text
        passes the tests of repetition and of confidence; English words, which cost a text classifier what speech does.
    """
    torch.manual_seed(seed)
    model = Whisper(dims)
    decoder, n_state = model.decoder, dims.n_text_state
    spread = _TOKEN_LOGIT_SPREAD if ends_after is None else _CERTAIN_LOGIT_SPREAD
    table = decoder.token_embedding.weight.data
    table.normal_(std=spread / n_state**0.5)
    table -= table.mean(dim=1, keepdim=True)
    tokenizer = _tokenizer(model)
    table[tokenizer.eot : tokenizer.timestamp_begin] = _NEVER_LOGIT / n_state
    nn.init.constant_(decoder.ln.weight, 1.0)
    nn.init.constant_(decoder.ln.bias, 1.0)
    positions = decoder.positional_embedding.data
    positions.normal_(std=0.1 if ends_after is None else _LOUD)
    if ends_after is not None:
        table[[token for token in range(tokenizer.eot) if not _is_word(tokenizer, token)]] = _NEVER_LOGIT / n_state
        direction = torch.randn(n_state)
        direction = (direction - direction.mean()) / direction.std()
        table[tokenizer.eot] = direction * (-2 * _NEVER_LOGIT / n_state)
        # the prompt takes its length of positions, the last of which samples the first token
        positions[len(tokenizer.sot_sequence) - 1 + ends_after :] = direction * _LOUD * 100
    return model.eval().requires_grad_(False)


def _is_word(tokenizer: WhisperTokenizer, token: int) -> bool:
    return re.fullmatch(" [a-z]{2,}", tokenizer.decode([token])) is not None


def write(model: Whisper, folder: Path, *, for_transformers: bool = True, quantisations: tuple[str, ...] = ()) -> None:
    """Write the checkpoint (fp32 on the CPU) as openai-whisper's, and if wanted as transformers' and CTranslate2's.

    quantisations : of CTranslate2, "int8" or "float32"; they are converted from the transformers folder
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"dims": asdict(model.dims), "model_state_dict": model.state_dict()}, folder / OPENAI)
    if for_transformers or quantisations:
        _write_transformers(model, folder / TRANSFORMERS)
    if quantisations:
        from ctranslate2.converters import TransformersConverter

        for quantisation in quantisations:
            converter = TransformersConverter(
                str(folder / TRANSFORMERS), copy_files=["tokenizer.json", "preprocessor_config.json"]
            )
            converter.convert(str(folder / ctranslate2_folder(quantisation)), quantization=quantisation, force=True)


def _tokenizer(model: Whisper) -> WhisperTokenizer:
    return get_tokenizer(model.is_multilingual, num_languages=model.num_languages, language="en", task="transcribe")


def _write_transformers(model: Whisper, folder: Path) -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    dims, tokenizer = model.dims, _tokenizer(model)
    config = WhisperConfig(
        vocab_size=dims.n_vocab,
        num_mel_bins=dims.n_mels,
        max_source_positions=dims.n_audio_ctx,
        max_target_positions=dims.n_text_ctx,
        d_model=dims.n_audio_state,
        encoder_layers=dims.n_audio_layer,
        encoder_attention_heads=dims.n_audio_head,
        encoder_ffn_dim=4 * dims.n_audio_state,
        decoder_layers=dims.n_text_layer,
        decoder_attention_heads=dims.n_text_head,
        decoder_ffn_dim=4 * dims.n_text_state,
        bos_token_id=tokenizer.eot,
        eos_token_id=tokenizer.eot,
        pad_token_id=tokenizer.eot,
        decoder_start_token_id=tokenizer.sot,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    theirs = WhisperForConditionalGeneration(config)
    state = {_renamed(name): tensor for name, tensor in model.state_dict().items()}
    absent, strange = theirs.load_state_dict(state, strict=False)
    if set(absent) != {"proj_out.weight"} or strange:  # the output projection is the token table
        raise RuntimeError(f"weights do not fit transformers' Whisper: {absent} absent, {strange} unknown")
    theirs.tie_weights()
    theirs.generation_config = _generation_config(model, tokenizer)
    theirs.save_pretrained(folder)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=_bpe(tokenizer), bos_token=_EOT, eos_token=_EOT, unk_token=_EOT, pad_token=_EOT
    )
    fast.save_pretrained(folder)
    features = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": dims.n_mels}
    (folder / "preprocessor_config.json").write_text(json.dumps(features))


_NAMES = (
    ("token_embedding.", "embed_tokens."),
    ("positional_embedding", "embed_positions.weight"),
    ("encoder.ln_post.", "encoder.layer_norm."),
    ("decoder.ln.", "decoder.layer_norm."),
    ("blocks.", "layers."),
    ("cross_attn_ln.", "encoder_attn_layer_norm."),
    ("cross_attn.", "encoder_attn."),
    (".attn_ln.", ".self_attn_layer_norm."),
    (".attn.", ".self_attn."),
    ("mlp_ln.", "final_layer_norm."),
    (".query.", ".q_proj."),
    (".key.", ".k_proj."),
    (".value.", ".v_proj."),
    (".out.", ".out_proj."),
    ("mlp.0.", "fc1."),
    ("mlp.2.", "fc2."),
)


def _renamed(name: str) -> str:
    for ours, theirs in _NAMES:
        name = name.replace(ours, theirs)
    return "model." + name


def _generation_config(model: Whisper, tokenizer: WhisperTokenizer) -> Any:
    """The GenerationConfig that the official checkpoints' generation_config.json is, for this vocabulary."""
    config: Any = GenerationConfig(
        bos_token_id=tokenizer.eot,
        eos_token_id=tokenizer.eot,
        pad_token_id=tokenizer.eot,
        decoder_start_token_id=tokenizer.sot,
        prev_sot_token_id=tokenizer.sot_prev,
        no_timestamps_token_id=tokenizer.no_timestamps,
        max_initial_timestamp_index=_MAX_INITIAL_TIMESTAMP,
        # the first token is a timestamp, but its rules are told apart from the others' by this being there
        begin_suppress_tokens=[*tokenizer.encoding.encode(" "), tokenizer.eot],
        suppress_tokens=[token for token in suppressed_tokens(tokenizer) if token != tokenizer.no_timestamps],
        max_length=model.dims.n_text_ctx,
        is_multilingual=model.is_multilingual,
        return_timestamps=False,
    )
    if model.is_multilingual:
        languages = list(LANGUAGES)[: model.num_languages]
        config.lang_to_id = {f"<|{code}|>": tokenizer.to_language_token(code) for code in languages}
        config.task_to_id = {"transcribe": tokenizer.transcribe, "translate": tokenizer.translate}
    return config


def _bpe(tokenizer: WhisperTokenizer) -> Tokenizer:
    """openai-whisper's tiktoken vocabulary as a byte-level BPE of the tokenizers library, ids kept."""
    encoding = tokenizer.encoding
    ranks: dict[bytes, int] = encoding._mergeable_ranks
    letters = _byte_letters()

    def spelled(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1 and len(parts := _parts(ranks, token, rank)) == 2:
            merges.append((spelled(parts[0]), spelled(parts[1])))
    vocabulary = {spelled(token): rank for token, rank in ranks.items()}
    # gpt2's vocabulary ends with the end of text, which openai-whisper counts among the special tokens
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(encoding._pat_str), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    special = sorted(encoding._special_tokens, key=lambda token: encoding._special_tokens[token])
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    for token, index in encoding._special_tokens.items():
        if made.token_to_id(token) != index:
            raise RuntimeError(f"token {token} became {made.token_to_id(token)}, not {index}")
    return made


def _parts(ranks: dict[bytes, int], token: bytes, limit: int) -> list[bytes]:
    """The two tokens that were merged into this one: byte-pair encode it with the merges before its own."""
    parts = [bytes([byte]) for byte in token]
    while True:
        pairs = [(ranks.get(a + b, limit), index) for index, (a, b) in enumerate(pairwise(parts))]
        rank, index = min(pairs, default=(limit, 0))
        if rank >= limit:
            return parts
        parts[index : index + 2] = [parts[index] + parts[index + 1]]


def _byte_letters() -> dict[int, str]:
    """GPT-2's printable letter of each byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}
