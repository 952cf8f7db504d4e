from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from policy_findings import heard, said, segment, sentence, text_findings, transcript

from aircheck.policy.errors import PolicyError, RequestError
from aircheck.policy.service import PolicyService
from aircheck_client.schema import Action, Context, EventSpan, Segment, Verdict


@pytest.fixture(scope="module")
def service(policy_dir: Path) -> PolicyService:
    return PolicyService(policy_dir)


def ask(service: PolicyService, **changes: Any) -> Verdict:
    heard_text = said("violence_threat", 0.93, "i will hurt you", 1.0, 3.0)
    inputs: dict[str, Any] = {
        "transcript_json": transcript(*heard_text.segments).model_dump_json().encode(),
        "text_findings_json": text_findings(heard_text).model_dump_json().encode(),
        "acoustic_findings_json": heard(EventSpan(event="gunshot", start_s=4, end_s=5, score=0.9))
        .model_dump_json()
        .encode(),
        "duration_s": 12.5,
        "warnings_json": b"[]",
        "context_json": b"",
    }
    return service.decide(**(inputs | changes))


def test_decides_from_text_and_sound(service: PolicyService) -> None:
    verdict = ask(service)
    assert [finding.category for finding in verdict.findings] == ["violence_threat", "gunshot"]
    assert (verdict.action, verdict.duration_s, verdict.language) == (Action.BLOCK, 12.5, "en")
    assert [item.text for item in verdict.segments] == ["i will hurt you"]


@pytest.mark.parametrize(("setting", "unsure"), [("auto", True), ("en", False)])
def test_the_language_that_the_settings_fix_is_sure(policy_dir: Path, setting: str, unsure: bool) -> None:
    words = said("hate", 0.1, "hello")
    text = text_findings(words).model_copy(update={"languages": ("en",)})
    spoken = transcript(*words.segments, detected=("en", 0.2))
    verdict = ask(
        PolicyService(policy_dir, language=setting),
        transcript_json=spoken.model_dump_json().encode(),
        text_findings_json=text.model_dump_json().encode(),
    )
    assert bool(verdict.unchecked) is unsure


@pytest.mark.parametrize("context", [b"", b" ", b"{}"])
def test_no_context_means_the_defaults(service: PolicyService, context: bytes) -> None:
    assert ask(service, context_json=context).context == Context()


def test_the_context_chooses_pack_and_override(service: PolicyService) -> None:
    audiobook = json.dumps({"content_type": "audiobook"}).encode()
    assert ask(service, context_json=audiobook).action is Action.LABEL_EXPLICIT
    strict = ask(service, context_json=json.dumps({"policy_pack": "strict"}).encode())
    assert (strict.action, strict.policy_pack, strict.policy_version) == (Action.BLOCK, "strict", "4")


def test_the_transcript_is_whispers_even_where_no_segment_was_classified(service: PolicyService) -> None:
    segments: list[Segment] = [segment("one", 0, 1), segment("two", 1, 2)]
    verdict = ask(
        service,
        transcript_json=transcript(*segments).model_dump_json().encode(),
        text_findings_json=text_findings(sentence(segments[0], {})).model_dump_json().encode(),
    )
    assert [item.text for item in verdict.segments] == ["one", "two"]


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ('{"contenttype": "clip"}', ("CONTEXT contenttype", "unknown key", "content_type, market, policy_pack")),
        ('{"content_type": "book"}', ("CONTEXT content_type", "'book'", "podcast, audiobook, clip")),
        ('{"market": "Sweden"}', ("CONTEXT market", "'Sweden'", "such as SE", "* for any")),
        ('{"market": "se"}', ("CONTEXT market", "'se'")),
        ('{"market": 46}', ("CONTEXT market", "46")),
        ('{"policy_pack": "kids"}', ("CONTEXT policy_pack", "'kids'", "available: default, strict")),
        ('{"policy_pack": "../secrets"}', ("CONTEXT policy_pack", "'../secrets'", "available: default, strict")),
        ('{"market": "xx", "policy_pack": "/"}', ("market: 'xx'", "policy_pack: '/'")),
        ("[]", ("CONTEXT is not a JSON object", "leave it empty")),
        ("podcast", ("CONTEXT is not a JSON object",)),
        ("null", ("CONTEXT is not a JSON object",)),
        ("{", ("CONTEXT is not a JSON object",)),
        (b"\xff\xfe", ("CONTEXT is not a JSON object",)),
    ],
)
def test_a_bad_context_is_refused_by_field_value_and_what_is_allowed(
    service: PolicyService, context: str | bytes, words: tuple[str, ...]
) -> None:
    with pytest.raises(RequestError) as raised:
        ask(service, context_json=context.encode() if isinstance(context, str) else context)
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"transcript_json": b"[]"}, "TRANSCRIPT: .*send what the model before"),
        ({"transcript_json": b'{"model": "m"}'}, r"TRANSCRIPT\['model_version'\]"),
        ({"text_findings_json": b""}, "TEXT_FINDINGS"),
        ({"text_findings_json": b'{"model": "m"}'}, r"TEXT_FINDINGS\['model_version'\]"),
        ({"acoustic_findings_json": b"\xff"}, "ACOUSTIC_FINDINGS"),
        ({"duration_s": -1.0}, r"DURATION: -1\.0"),
        ({"duration_s": float("nan")}, "DURATION: nan"),
        ({"duration_s": float("inf")}, "DURATION: inf"),
        ({"warnings_json": b'"text"'}, "WARNINGS"),
    ],
)
def test_a_bad_input_is_refused_by_name(service: PolicyService, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        ask(service, **changes)


def test_a_server_does_not_start_with_a_broken_pack(tmp_path: Path) -> None:
    (tmp_path / "default.yaml").write_text("name: default\n", encoding="utf-8")
    with pytest.raises(PolicyError, match=r"default\.yaml"):
        PolicyService(tmp_path)
