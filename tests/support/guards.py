"""Guard models as users bring them: the real classes, tiny, of random weights, saved by transformers itself."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    GraniteMoeConfig,
    GraniteMoeForCausalLM,
    Llama4Config,
    Llama4ForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

SPECIAL = ["<pad>", "<|start|>", "<|end|>"]
TEMPLATE = (
    "<|start|>{{ messages[0].role }}\n{{ guideline or guardian_config or '' }}\n"
    "{{ messages[0].content if messages[0].content is string else messages[0].content[0].text }}<|end|>\n"
    "<|start|>assistant{{ '\n' }}"  # jinja drops a line break at the very end
)
_CORPUS = (
    "i you we they will not love hate the dog cat rain house and to of in it is yes no Yes No safe unsafe Safe Unsafe "
    "Controversial Safety Categories Violent Non-violent Sexual PII Suicide Unethical Politically Copyright Jailbreak "
    "None User Violence Criminal Guns Controlled Hate Harassment Threat Profanity Needs Other Manipulation Fraud "
    "Malware High Political Unauthorized Illegal Immoral Task message user assistant content shall prompt <score> "
    "<think> S 1 2 3 4 5 6 7 8 9 10 11 12 13 14"
).split()

KINDS = {
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 8}),
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "gemma2": (Gemma2Config, Gemma2ForCausalLM, {"head_dim": 8, "sliding_window": 64}),
    "granite": (GraniteConfig, GraniteForCausalLM, {"logits_scaling": 2.0}),
    "granitemoe": (GraniteMoeConfig, GraniteMoeForCausalLM, {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "llama4": (Llama4Config, Llama4ForConditionalGeneration, {"head_dim": 8}),
}
"""The classes of Qwen3Guard, Llama Guard 3 and Nemotron, ShieldGemma, Granite Guardian (two of them), Llama Guard 4."""

_LLAMA_4 = {  # dense, and with a null of its makers'
    "intermediate_size_mlp": 64,
    "moe_layers": [],
    "num_local_experts": 1,
    "attention_chunk_size": None,
    "num_hidden_layers": 4,  # the fourth has no rotary positions
}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
    "projector_input_dim": 32,
    "projector_output_dim": 32,
    "vision_output_dim": 32,
}


def save_guard(folder: Path, kind: str, template: str | None = TEMPLATE) -> Path:
    """A guard of a kind in KINDS, with a byte-level tokenizer to which the words of the shipped cards are one token."""
    config_class, model_class, extra = KINDS[kind]
    tokenizer = _tokenizer(template)
    torch.manual_seed(0)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "initializer_range": 0.5,  # so that outputs differ visibly between texts
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **extra,
    }
    if kind == "llama4":
        config = config_class(text_config=text | _LLAMA_4, vision_config=_VISION)
    else:
        config = config_class(**text)
    model_class(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = [form for word in _CORPUS for form in (word, f" {word}", f'"{word}')]
    tokenizer.train_from_iterator(words * 3, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<|start|>", eos_token="<|end|>"
    )
    fast.chat_template = template
    return fast
