import importlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from preprocessing.container import Limits
from preprocessing.decoding import DecodeReport, decode
from preprocessing.speech_activity import (
    CHUNK,
    CHUNK_S,
    SAMPLE_RATE_HZ,
    Span,
    SpanOptions,
    SpeechActivity,
    at_speech_level,
    speech_activity,
    speech_spans,
)
from support.audio import silence, tone
from support.cases import case
from support.speech import speak

SENTENCE = "The quick brown fox jumps over the lazy dog."
LIMITS = Limits(max_bytes=2**26, max_duration_s=60, max_channels=2, max_sample_rate_hz=48_000)
RNG = np.random.default_rng(11)


def noise(seconds: float, gain: float) -> np.ndarray:
    return (gain * RNG.standard_normal(round(seconds * SAMPLE_RATE_HZ))).astype(np.float32)


@pytest.fixture(scope="module")
def sentence():
    return np.concatenate([silence(1.0), speak(SENTENCE), silence(1.0)])


@pytest.fixture(scope="module")
def silero():
    """silero-vad's own TorchScript model, with the number of threads that importing it changes put back."""
    threads = torch.get_num_threads()
    model = importlib.import_module("silero_vad").load_silero_vad()
    torch.set_num_threads(threads)
    return model


def silero_weights(model) -> dict[str, torch.Tensor]:
    """The weights of silero-vad's TorchScript model by the names of its safetensors file."""
    theirs = dict(model._model.state_dict())
    names = {"decoder.decoder.2": "final_conv", "decoder.rnn": "lstm_cell"}
    names |= {f"encoder.{i}.reparam_conv": f"conv{i + 1}" for i in range(4)}
    return {
        name.replace(prefix, ours): tensor
        for name, tensor in theirs.items()
        for prefix, ours in names.items()
        if name.startswith(f"{prefix}.")
    }


@pytest.mark.parametrize("extra_samples", [0, 1, CHUNK - 1])
def test_probabilities_are_silero_vads(silero, sentence, extra_samples):
    # the package's two files hold two trainings of one network: ours is compared with the weights of the one that runs
    whole = len(sentence) // CHUNK * CHUNK
    samples = np.concatenate([sentence[:whole], noise(6.0, 0.05)[: 90_112 + extra_samples]])  # more than one block
    samples[20_000:60_000] += 0.01
    padded = np.pad(samples, (0, -len(samples) % CHUNK))
    silero.reset_states()
    expected = [silero(torch.from_numpy(chunk), SAMPLE_RATE_HZ).item() for chunk in padded.reshape(-1, CHUNK)]
    found = SpeechActivity(silero_weights(silero)).probabilities(samples)
    assert max(expected) > 0.9
    assert min(expected) < 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_installed_weights_find_the_sentence(sentence):
    (span,) = speech_activity().spans(sentence)
    assert span.start_s == pytest.approx(1.0, abs=0.2)
    assert span.end_s == pytest.approx(len(sentence) / SAMPLE_RATE_HZ - 1.0, abs=0.3)


@pytest.mark.parametrize("gain_db", [-30, -50, -60])
def test_quiet_speech_is_found(sentence, gain_db):
    quiet = np.round(sentence * 10 ** (gain_db / 20) * 32768).astype(np.float32) / 32768  # as 16 bits keep it
    (expected,), (found,) = speech_activity().spans(sentence), speech_activity().spans(quiet)
    assert found.start_s == pytest.approx(expected.start_s, abs=0.1)
    assert found.end_s == pytest.approx(expected.end_s, abs=0.1)


def test_quiet_speech_after_loud_speech_is_found(sentence):
    spans = speech_activity().spans(np.concatenate([sentence, silence(2.0), sentence * 0.005]))
    again_s = len(sentence) / SAMPLE_RATE_HZ + 2.0
    assert sum(span.duration_s for span in spans if span.start_s > again_s) > 2.0


def test_an_offset_changes_nothing(sentence):
    assert speech_activity().spans(sentence + np.float32(0.2)) == speech_activity().spans(sentence)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_broken_sample_hides_no_speech(sentence, value):
    (expected,) = speech_activity().spans(sentence)
    broken = sentence.copy()
    broken[4_000] = value
    found = speech_activity().spans(broken)[-1]
    assert found.end_s == pytest.approx(expected.end_s, abs=0.1)
    assert found.duration_s > 0.8 * expected.duration_s


@pytest.mark.parametrize(
    "samples",
    [
        silence(8.0),
        noise(8.0, 0.3),
        noise(8.0, 1 / 32768),
        np.cumsum(noise(8.0, 0.001)),
        tone(8.0, 440.0),
        tone(8.0, 50.0) + tone(8.0, 150.0) / 2,
        noise(8.0, 0.3) * (RNG.random(8 * SAMPLE_RATE_HZ) < 0.02),
    ],
    ids=["silence", "white", "dither", "brown", "tone", "hum", "crackle"],
)
def test_what_is_no_voice_is_no_speech(samples):
    assert speech_activity().spans(samples.astype(np.float32)) == ()


def test_a_window_alone_and_among_fifteen_others_is_byte_identical(sentence):
    windows = [np.concatenate([sentence, noise(i * 1.3, 0.1), sentence[: i * 4_000]]) for i in range(16)]
    alone = [speech_activity().probabilities(at_speech_level(window)).tobytes() for window in windows]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda window: speech_activity().probabilities(at_speech_level(window)).tobytes(), windows)
        assert list(together) == alone


@pytest.mark.parametrize("samples", [0, 1, CHUNK, CHUNK + 1, 128 * CHUNK, 128 * CHUNK + 1])
def test_every_chunk_gets_a_probability(samples):
    assert speech_activity().probabilities(noise(10.0, 0.1)[:samples]).shape == (-(-samples // CHUNK),)
    assert speech_activity().spans(noise(10.0, 0.1)[:samples]) == ()


def test_nothing_is_attenuated_and_all_that_is_quiet_gets_the_same_level():
    loud, quiet = noise(6.0, 0.5), noise(6.0, 0.001)
    amplified = at_speech_level(np.concatenate([loud, quiet]))
    np.testing.assert_allclose(amplified[: 2 * SAMPLE_RATE_HZ], loud[: 2 * SAMPLE_RATE_HZ], atol=0.03)
    assert 20 * np.log10(amplified[-2 * SAMPLE_RATE_HZ :].std()) == pytest.approx(-20, abs=1.5)
    assert not at_speech_level(silence(1.0)).any()


def chunks(*runs: tuple[float, int]) -> np.ndarray:
    """Probabilities of runs of equal chunks: (probability, number of chunks)."""
    return np.concatenate([np.full(count, probability, np.float32) for probability, count in runs])


BARE = SpanOptions(padding_s=0.0)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([(0.0, 10), (0.9, 10), (0.0, 10)], [(10, 20)]),
        ([(0.0, 10), (0.4, 5), (0.9, 10), (0.25, 5), (0.1, 10)], [(10, 30)]),  # soft ends belong to it
        ([(0.0, 10), (0.9, 10), (0.0, 6), (0.9, 10)], [(10, 36)]),  # a pause of 0.19 s is part of the speech
        ([(0.0, 10), (0.9, 10), (0.0, 7), (0.9, 10)], [(10, 20), (27, 37)]),
        ([(0.0, 10), (0.9, 6), (0.0, 10)], []),  # 0.19 s
        ([(0.0, 10), (0.7, 30), (0.0, 10)], []),  # never sure
        ([(0.9, 10), (0.1, 3)], [(0, 10)]),
        ([], []),
    ],
)
def test_probabilities_become_spans_by_hysteresis(runs, expected):
    probabilities = chunks(*runs) if runs else np.zeros(0, np.float32)
    spans = speech_spans(probabilities, len(probabilities) * CHUNK_S, BARE)
    assert spans == tuple(Span(round(first * CHUNK_S, 3), round(end * CHUNK_S, 3)) for first, end in expected)


def test_padding_joins_what_touches_and_stays_within_the_audio():
    probabilities = chunks((0.9, 10), (0.0, 12), (0.9, 10), (0.0, 20), (0.9, 10))
    duration_s = len(probabilities) * CHUNK_S - 0.01
    spans = speech_spans(probabilities, duration_s, SpanOptions(padding_s=0.2))
    assert spans == (Span(0.0, pytest.approx(32 * CHUNK_S + 0.2)), Span(pytest.approx(52 * CHUNK_S - 0.2), duration_s))


@pytest.mark.parametrize("name", ["silence_10s.flac", "pink_noise_10s.flac"])
def test_noise_into_which_whisper_writes_words_is_no_speech(name):
    assert speech_activity().spans(decoded(name)) == ()


@pytest.mark.parametrize(
    ("name", "starts_s", "ends_s"),
    [("silence30_then_threat.flac", 30.0, 32.3), ("tail_after_pause.flac", 14.0, 16.3)],
)
def test_a_line_after_a_pause_is_speech(name, starts_s, ends_s):
    last = speech_activity().spans(decoded(name))[-1]
    assert last.start_s == pytest.approx(starts_s, abs=0.2)
    assert last.end_s == pytest.approx(ends_s, abs=0.2)


def decoded(name: str) -> np.ndarray:
    """A recording of ../shared/cases as fp32 [samples]."""
    return np.concatenate(list(decode(case(name), LIMITS, DecodeReport())))
