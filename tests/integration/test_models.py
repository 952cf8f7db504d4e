"""Each model alone, inside Triton."""

import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from aircheck.doctor import machine
from aircheck.policy.taxonomy import Category
from aircheck.settings import Settings
from aircheck.triton import BUNDLED
from aircheck_client.schema import AcousticFindings, Segment, TextFindings, Transcript, Verdict
from support.audio import FORMATS, encode, silence, tone, wav
from support.containers import Track, mux
from support.speech import speak
from support.triton import as_json, audio
from training.acoustic_safety.sounds import SOUNDS


def segment(text, start_s=0.0, end_s=3.0):
    return Segment(
        start_s=start_s, end_s=end_s, text=text, avg_logprob=-0.2, no_speech_prob=0.01, compression_ratio=1.1
    )


def transcript_of(*segments):
    """What Whisper returns for them, as JSON."""
    transcript = Transcript(model="w", model_version="1", language="en", speech=(), segments=segments)
    return transcript.model_dump_json()


@pytest.mark.parametrize("name", FORMATS)
def test_audio_decode_takes_every_container(models, name):
    out = models("audio_decode", AUDIO=audio(encode(tone(2.0), name)))
    assert out["WAVEFORM"].shape == (1, 480_000)
    assert out["LOG_MEL"].shape == (1, 80, 3000)
    assert out["DURATION"][0, 0] == pytest.approx(2.0, abs=0.1)
    assert as_json(out["SPEECH"]) == []


def test_audio_decode_warns_of_what_it_did_not_hear(models):
    two = mux([Track([(0.0, tone(1.0))]), Track([(0.0, tone(1.0))], default=True)])
    assert as_json(models("audio_decode", AUDIO=audio(wav(tone(1.0))))["WARNINGS"]) == []
    (warning,) = as_json(models("audio_decode", AUDIO=audio(two))["WARNINGS"])
    assert "track 1 of 2 was not checked" in warning


def test_audio_decode_finds_where_somebody_speaks(models):
    speech = speak("welcome back to the show today we talk about the weather")
    out = models("audio_decode", AUDIO=audio(wav(np.concatenate([silence(3.0), speech]))))
    spans = as_json(out["SPEECH"])
    assert spans[0][0] == pytest.approx(3.0, abs=0.3)
    assert spans[-1][1] == pytest.approx(3.0 + len(speech) / 16_000, abs=0.3)


def test_whisper_returns_segments_as_the_contract_says(models):
    speech = speak("welcome back to the show today we talk about the weather")
    clip = models("audio_decode", AUDIO=audio(wav(speech)))
    out = models("whisper", LOG_MEL=clip["LOG_MEL"], DURATION=clip["DURATION"], SPEECH=clip["SPEECH"], LANGUAGE=[""])
    transcript = Transcript.model_validate_json(out["TRANSCRIPT"][0, 0])
    segments = transcript.segments
    assert segments
    assert out["TEXT"][0, 0].decode().split() == " ".join(item.text for item in segments).split()
    assert all(0 <= item.start_s <= item.end_s <= len(speech) / 16_000 + 0.02 for item in segments)
    assert transcript.language == "en"


def test_whisper_names_the_mel_bins_it_wants(models):
    with pytest.raises(InferenceServerException, match="80") as error:
        models(
            "whisper",
            LOG_MEL=np.zeros((1, 128, 3000), np.float32),
            DURATION=np.ones((1, 1), np.float32),
            SPEECH=["[[0.0, 1.0]]"],
            LANGUAGE=[""],
        )
    assert "128" in str(error.value)


def test_text_safety_scores_every_category_of_every_sentence(models):
    said = [
        segment("we will come to your house and hurt you."),
        segment("the garden is lovely in the spring", 3.0, 6.0),
    ]
    out = models("text_safety", TRANSCRIPT=[transcript_of(*said)])
    findings = TextFindings.model_validate_json(out["TEXT_FINDINGS"][0, 0])
    assert "en" in findings.languages
    assert out["TEXT_SCORES"].shape == (1, len(Category))
    threat, garden = findings.sentences
    assert set(threat.scores) == {category.value for category in Category}
    assert threat.scores["violence_threat"] > 0.5 > garden.scores["violence_threat"]
    highest = [max(s.scores[category.value] for s in findings.sentences) for category in Category]
    np.testing.assert_allclose(out["TEXT_SCORES"][0], highest, atol=1e-3)


def test_text_safety_refuses_what_is_no_transcript(models):
    with pytest.raises(InferenceServerException, match="TRANSCRIPT") as error:
        models("text_safety", TRANSCRIPT=["{not json"])
    assert error.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_texts_of_many_clients_fuse_into_batches(models):
    said = transcript_of(segment("welcome back to the show today we talk about the weather"))
    before = models.statistics("text_safety")
    inferences = executions = 0
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda _: models("text_safety", TRANSCRIPT=[said]), range(48)))
    deadline_s = time.monotonic() + 60
    while inferences < 48 and time.monotonic() < deadline_s:  # Triton counts a batch after it has answered it
        inferences, executions = np.subtract(models.statistics("text_safety"), before)
    assert inferences == 48
    assert executions < 48


def test_acoustic_safety_finds_a_gunshot_where_it_is(models):
    samples = silence(10.0) + 0.001 * np.random.default_rng(1).standard_normal(160_000).astype(np.float32)
    shot = SOUNDS["gunshot"](np.random.default_rng(5))[:32_000]
    samples[64_000 : 64_000 + len(shot)] += shot
    clip = models("audio_decode", AUDIO=audio(wav(samples)))
    out = models("acoustic_safety", WAVEFORM=clip["WAVEFORM"], DURATION=clip["DURATION"])
    findings = AcousticFindings.model_validate_json(out["ACOUSTIC_FINDINGS"][0, 0])
    shots = [span for span in findings.spans if span.event == "gunshot"]
    assert shots
    assert shots[0].start_s == pytest.approx(4.0, abs=0.5)
    assert out["ACOUSTIC_SCORES"].max() <= 1.0


def policy_inputs(said, scores, context="{}"):
    findings = TextFindings(
        model="m",
        model_version="1",
        sentences=[
            {
                "text": said.text,
                "start_s": said.start_s,
                "end_s": said.end_s,
                "segments": [said.model_dump()],
                "scores": scores,
            }
        ],
        languages=["en"],
    )
    sounds = AcousticFindings(model="a", model_version="1")
    return {
        "TRANSCRIPT": [transcript_of(said)],
        "TEXT_FINDINGS": [findings.model_dump_json()],
        "ACOUSTIC_FINDINGS": [sounds.model_dump_json()],
        "DURATION": np.full((1, 1), 5.0, np.float32),
        "WARNINGS": ["[]"],
        "CONTEXT": [context],
    }


def test_policy_turns_findings_into_a_verdict_with_evidence(models):
    said = segment("i will find you and kill you", 1.0, 3.0)
    scores = dict.fromkeys([c.value for c in Category], 0.01) | {"violence_threat": 0.97}
    verdict = Verdict.model_validate_json(models("policy", **policy_inputs(said, scores))["VERDICT"][0, 0])
    (finding,) = verdict.findings
    assert finding.category == "violence_threat"
    assert verdict.action == "block"
    (evidence,) = finding.evidence
    assert (evidence.quote, evidence.start_s, evidence.end_s) == (said.text, 1.0, 3.0)
    assert (verdict.policy_pack, bool(verdict.policy_version)) == ("default", True)


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ('{"policy_pack": "none-such"}', "none-such.*default"),
        ('{"markets": "SE"}', "markets"),
        ("not json", "CONTEXT"),
    ],
)
def test_policy_names_what_is_wrong_with_a_context(models, context, words):
    with pytest.raises(InferenceServerException, match=words) as error:
        models("policy", **policy_inputs(segment("hello"), {}, context))
    assert error.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_the_bundled_triton_is_of_the_version_that_the_launcher_takes_it_for(models):
    assert models.triton.get_server_metadata().version == ".".join(map(str, BUNDLED))


def test_the_doctor_knows_a_server_that_has_the_ports(server):
    ports = {"grpc_port": server.url.rpartition(":")[2], "metrics_port": urlsplit(server.metrics_url).port}
    for result in machine.ports(Settings.load(**ports)):
        assert result.found.endswith("an aircheck server is there, serving")
