"""The ensemble `audio_safety`: one clip of at most 30 s to a verdict, in good and in bad company."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc

from aircheck_client import AircheckError, Context, InvalidAudioError
from support.audio import encode, silence, tone, wav
from support.containers import Track, mux
from support.speech import speak
from support.triton import audio

SAID = "hello and welcome back to the show"


@pytest.mark.parametrize("name", ["wav-16", "mp3", "m4a", "opus"])  # preprocessing's tests decode every format
def test_every_container_is_decoded_and_transcribed(client, name):
    verdict = client.scan_clip(encode(speak(SAID), name))
    assert verdict.scope == "episode"
    assert verdict.segments
    assert verdict.duration_s == pytest.approx(len(speak(SAID)) / 16_000, abs=0.15)


def test_the_ensemble_returns_what_its_models_found(models):
    out = models("audio_safety", AUDIO=audio(wav(speak(SAID))), CONTEXT=["{}"], LANGUAGE=[""])
    assert set(out) == {"VERDICT", "TEXT", "TEXT_SCORES", "ACOUSTIC_SCORES", "FINDINGS"}
    assert out["TEXT_SCORES"].shape == (1, 11)


@pytest.mark.parametrize(
    "samples",
    [silence(5.0), 0.3 * tone(6.0, 220) + 0.3 * tone(6.0, 277) + 0.3 * tone(6.0, 330)],
    ids=["silence", "a chord"],
)
def test_sound_without_speech_has_no_text_and_no_findings(client, samples):
    verdict = client.scan_clip(wav(samples))
    assert verdict.action == "allow"
    assert not verdict.findings
    assert not [s for s in verdict.segments if s.no_speech_prob < 0.6 and s.avg_logprob > -1.0]


@pytest.mark.parametrize(("seconds", "rate_hz", "channels"), [(1.0, 16_000, 1), (29.99, 16_000, 1), (2.0, 48_000, 8)])
def test_clips_from_one_second_to_nearly_thirty_are_taken(client, seconds, rate_hz, channels):
    verdict = client.scan_clip(wav(tone(seconds, rate_hz=rate_hz), rate_hz, channels))
    assert verdict.duration_s == pytest.approx(seconds, abs=1e-3)


@pytest.mark.parametrize("rate_hz", [8_000, 96_000])
def test_telephone_and_studio_rates_are_taken(client, rate_hz):
    verdict = client.scan_clip(wav(tone(1.0, rate_hz=rate_hz), rate_hz))
    assert verdict.duration_s == pytest.approx(1.0, abs=1e-3)


def test_what_of_a_clip_or_an_episode_was_not_heard_is_in_the_verdict(client):
    data = mux([Track([(0.0, tone(1.0))]), Track([(0.0, tone(1.0))], default=True)])
    clip, episode = client.scan_clip(data), client.scan(data)
    assert any("track 1 of 2 was not checked" in warning for warning in clip.warnings)
    assert episode.warnings == clip.warnings


BAD = {
    "random bytes": (np.random.default_rng(3).bytes(20_000), "not a known audio file"),
    "30.01 s": (wav(tone(30.01)), r"30\.01 s exceed the limit of 30 s.*scan takes longer audio"),
    "9 channels": (wav(tone(1.0), channels=9), "9 channels exceed the limit of 8"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_audio_is_refused_with_its_fault(client, name):
    data, words = BAD[name]
    with pytest.raises(InvalidAudioError, match=words):
        client.scan_clip(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (encode(tone(8.0), "mp3")[:30_000], "truncated"),
        (wav(tone(3.0))[:20_000], "claims 96000 bytes of audio, but 19956 follow"),
    ],
    ids=["mp3", "a wav header that lies"],
)
def test_a_truncated_clip_is_checked_as_far_as_it_goes_and_is_not_clean(client, data, words):
    verdict = client.scan_clip(data)
    assert any(words in warning for warning in verdict.warnings)
    assert [item.kind for item in verdict.unchecked] == ["undecoded"]
    assert verdict == client.scan(data)


def test_zero_bytes_are_refused_by_client_and_server(client, server):
    with pytest.raises(InvalidAudioError, match="0 bytes"):
        client.scan_clip(b"")
    import grpc

    tensor = service_pb2.ModelInferRequest.InferInputTensor
    with grpc.insecure_channel(server.triton_url) as channel, pytest.raises(grpc.RpcError) as error:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(
            service_pb2.ModelInferRequest(
                model_name="audio_safety",
                inputs=[
                    tensor(name="AUDIO", datatype="UINT8", shape=[1, 0]),
                    tensor(name="CONTEXT", datatype="BYTES", shape=[1, 1]),
                    tensor(name="LANGUAGE", datatype="BYTES", shape=[1, 1]),
                ],
                raw_input_contents=[b"", b"\x02\x00\x00\x00{}", b"\x00\x00\x00\x00"],
            ),
            timeout=60,
        )
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "0 bytes" in error.value.details()


def test_a_context_nobody_knows_is_refused(client):
    with pytest.raises(InvalidAudioError, match="none-such"):
        client.scan_clip(wav(tone(1.0)), Context(policy_pack="none-such"))


def test_sixteen_clips_at_once_with_one_corrupt_give_fifteen_good_answers(patient_client):
    clips = [wav(tone(0.5 + 0.4 * n, 200 + 30 * n)) for n in range(16)]
    flac = encode(tone(6.0), "flac")
    clips[6], clips[7] = b"no audio" * 1000, flac[: len(flac) // 2]
    together = threading.Barrier(16)

    def scan(data):
        together.wait()
        try:
            return patient_client.scan_clip(data)
        except AircheckError as error:
            return error

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(scan, clips))
    assert [i for i, result in enumerate(results) if isinstance(result, Exception)] == [6]
    assert isinstance(results[6], InvalidAudioError)
    assert results[7].unchecked
    for n, verdict in enumerate(results):
        if n not in (6, 7):
            assert verdict.duration_s == pytest.approx(0.5 + 0.4 * n, abs=1e-3)


def test_requests_of_many_clients_fuse_into_batches(patient_client, models):
    names = ("audio_decode", "acoustic_safety")  # texts come from Whisper one at a time: see test_models.py
    before = {name: models.statistics(name) for name in names}
    clip = wav(tone(1.0))  # no speech: Whisper, whose batches are its own, does not decode it
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(patient_client.scan_clip, [clip] * 48))
    for name in names:
        inferences, executions = np.subtract(models.statistics(name), before[name])
        assert inferences == 48, name
        assert inferences / executions > 1, name


def test_clients_that_go_away_at_any_moment_harm_nobody(server, models):
    """Every second request is cancelled within 2 s, in whatever step it is then; forked ensembles ended Triton 2.51."""
    connection, clip = triton.InferenceServerClient(server.triton_url), audio(wav(speak(f"{SAID}, {SAID}, {SAID}")))

    def ask(n):
        inputs = [triton.InferInput("AUDIO", [*clip.shape], "UINT8")]
        inputs[0].set_data_from_numpy(clip)
        for name, value in (("CONTEXT", b"{}"), ("LANGUAGE", b"")):
            inputs.append(triton.InferInput(name, [1, 1], "BYTES"))
            inputs[-1].set_data_from_numpy(np.array([[value]], object))
        errors, over = [], threading.Event()
        call = connection.async_infer("audio_safety", inputs, lambda result, error: (errors.append(error), over.set()))
        if n % 2:
            over.wait(2 * random.Random(n).random())
            call.cancel()
        assert over.wait(120)
        return errors[0]

    with ThreadPoolExecutor(12) as pool:
        errors = list(pool.map(ask, range(48)))
    assert errors[::2] == [None] * 24
    cancelled = [error for error in errors[1::2] if error is not None]
    assert cancelled, "every answer came before its cancellation"
    assert {error.status() for error in cancelled} == {"StatusCode.CANCELLED"}
    assert models("audio_safety", AUDIO=clip, CONTEXT=["{}"], LANGUAGE=[""])["VERDICT"].size == 1
