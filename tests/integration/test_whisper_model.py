"""The `whisper` model under load, in a Triton of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from aircheck.server import Server
from aircheck.settings import Settings
from aircheck_client import AircheckClient, Retry
from support.audio import wav
from support.speech import speak
from support.triton import FREE_PORTS, Models, as_json, triton_type
from support.whisper_models import log_mel


@pytest.fixture(scope="module")
def tight() -> Iterator[Server]:
    """One slot, and room for eight windows that wait for it."""
    settings = Settings.load(
        whisper_slots=1,
        whisper_max_waiting=8,
        word_timestamps=True,
        window_max_s=4.0,
        episode_parallel_windows=24,
        **FREE_PORTS,
    )
    with Server(settings) as server:
        yield server


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return speak("welcome back to the show, today we talk about the weather in the mountains")


def whisper_model(server: Server, log_mels: np.ndarray, durations_s: np.ndarray) -> dict[str, np.ndarray]:
    """What `whisper` answers where somebody speaks all the time."""
    speech = json.dumps([[0.0, float(durations_s[0, 0])]])
    return Models(server.triton_url)(
        "whisper", LOG_MEL=log_mels, DURATION=durations_s, SPEECH=[speech], LANGUAGE=["en"]
    )


def test_words_are_given_where_they_are_asked_for(tight: Server, speech: np.ndarray) -> None:
    log_mels, durations_s = log_mel(speech)[None].numpy(), np.full((1, 1), len(speech) / 16_000, np.float32)
    (segment, *_) = as_json(whisper_model(tight, log_mels, durations_s)["TRANSCRIPT"])["segments"]
    assert "".join(word["text"] for word in segment["words"]).strip() == segment["text"]


def test_more_than_the_queue_holds_is_refused_as_unavailable_and_the_rest_is_answered(
    tight: Server, speech: np.ndarray
) -> None:
    log_mels, durations_s = log_mel(speech)[None].numpy(), np.full((1, 1), len(speech) / 16_000, np.float32)

    def ask(_: int) -> str:
        try:
            return str(whisper_model(tight, log_mels, durations_s)["TEXT"][0, 0])
        except InferenceServerException as error:
            return "unavailable" if "UNAVAILABLE" in str(error.status()) else "another fault"

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    assert "unavailable" in answers
    assert len(set(answers)) == 2, "those that were taken are answered, all alike"
    assert ask(0) != "unavailable", "the queue drains"


def test_callers_of_the_gateway_wait_where_the_queue_is_full(tight: Server, speech: np.ndarray) -> None:
    clip = wav(speech)

    def scan(_: int) -> str:
        with AircheckClient(tight.url, timeout_s=300, retry=Retry(attempts=1)) as client:
            return client.scan_clip(clip).action

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(scan, range(16)))) == 1


def test_an_episode_waits_where_the_queue_is_full(tight: Server, speech: np.ndarray) -> None:
    """It has more windows in flight than the queue holds."""
    recording = wav(np.tile(speech, 16))
    with AircheckClient(tight.url, timeout_s=300, retry=Retry(attempts=1)) as client:
        *windows, whole = client.stream(recording)
    assert len(windows) >= 16
    assert whole.scope == "episode"
    starts_s = [word.start_s for segment in whole.segments for word in segment.words]
    assert starts_s[-1] > whole.duration_s - 6, "words are in the recording's time"


def test_a_cancelled_request_ends_and_the_others_are_answered(tight: Server, speech: np.ndarray) -> None:
    """That its windows cost nothing any more is tested by CPU time, in test_faults.py: Triton counts what it began."""
    mel, seconds = log_mel(speech).numpy(), np.full((7, 1), len(speech) / 16_000, np.float32)
    channel = triton.InferenceServerClient(tight.triton_url)
    gone, ended = [], threading.Event()

    def ask(rows: int, arrived: Callable[[object, Exception | None], object]) -> triton.CallContext:
        spans = json.dumps([[0.0, float(seconds[0, 0])]]).encode()
        arrays = {
            "LOG_MEL": np.repeat(mel[None], rows, axis=0),
            "DURATION": seconds[:rows],
            "SPEECH": np.array([[spans]] * rows, object),
            "LANGUAGE": np.array([[b"en"]] * rows, object),
        }
        inputs = []
        for name, array in arrays.items():
            inputs.append(triton.InferInput(name, list(array.shape), triton_type(array)))
            inputs[-1].set_data_from_numpy(array)
        return channel.async_infer("whisper", inputs, arrived)

    first = ask(7, lambda result, error: (gone.append(error), ended.set()))  # more windows than the slot
    first.cancel()
    assert ended.wait(60)
    assert isinstance(gone[0], InferenceServerException)
    assert "CANCELLED" in str(gone[0].status())
    out = whisper_model(tight, mel[None], seconds[:1])
    assert out["TEXT"][0, 0]
