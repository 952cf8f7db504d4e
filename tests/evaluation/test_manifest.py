"""A manifest is read whole or refused with every fault named."""

from __future__ import annotations

import json

import pytest

from aircheck.evaluation.items import COMMITTED_SET, EVENTS, TARGETS, DataError
from aircheck.evaluation.readers import read_manifest as read
from aircheck.settings import ROOT

THREAT = {"category": "violence_threat", "start_s": 0.4, "end_s": 1.6}
SHOT = {"category": "gunshot", "start_s": 2.0, "end_s": 2.5}


def manifest(tmp_path, *items):
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def test_a_label_leaves_the_rest_of_its_kind_unknown(tmp_path):
    labelled = {"id": "a", "audio": "audio/a.mp3", "transcript": "", "labels": [SHOT], "slices": {"sex": "female"}}
    recording, text = read(manifest(tmp_path, labelled, {"id": "b", "text": "zwei Äpfel\nund mehr"}))
    assert recording.truth["gunshot"] is True
    assert "scream" not in recording.truth  # may well be there too, unlabelled
    assert recording.truth["hate"] is False
    assert recording.transcript == ""  # nothing is said, which is not the same as None: unknown
    assert recording.audio == tmp_path / "audio" / "a.mp3"
    assert [(one.target, one.start_s) for one in recording.spans] == [("gunshot", 2.0)]
    assert text.texts == ("zwei Äpfel", "und mehr")
    assert not set(text.truth) & set(EVENTS)


def test_an_event_without_times_has_no_spans(tmp_path):
    (item,) = read(manifest(tmp_path, {"id": "a", "audio": "a.mp3", "labels": [SHOT, {"category": "gunshot"}]}))
    assert item.spans is None


def test_an_event_that_is_labelled_twice_has_two_spans(tmp_path):
    labels = [SHOT, {**SHOT, "start_s": 4.0, "end_s": 4.5}]
    (item,) = read(manifest(tmp_path, {"id": "a", "audio": "a.mp3", "labels": labels}))
    assert [one.start_s for one in item.spans] == [2.0, 4.0]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"id": "a"}, "exactly one of audio and text"),
        ({"id": "a", "audio": "a.mp3", "text": "x"}, "exactly one of audio and text"),
        ({"id": "a", "text": "x", "lables": []}, "lables: unknown key; allowed: id, audio"),
        ({"id": "a", "text": "x", "labels": [{"category": "music"}]}, "'music' is no harm of the taxonomy"),
        ({"id": "a", "text": "x", "labels": [{**THREAT, "end_s": 0.1}]}, "end_s 0.1 is not after start_s 0.4"),
        ({"id": "a", "text": "x", "labels": [{"category": "hate", "start_s": 1}]}, "give both or neither"),
        ({"id": "a", "audio": ""}, "below the manifest's folder"),
        ({"id": "a", "audio": "/etc/passwd"}, "below the manifest's folder"),
        ({"id": "a", "audio": "x/../../secret.wav"}, "below the manifest's folder"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path, item, words):
    path = manifest(tmp_path, {"id": "good", "text": "x"}, item)
    with pytest.raises(DataError, match="line 2") as error:
        read(path)
    assert words in str(error.value)


def test_repeated_ids_and_empty_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="'a' stands on 2 lines"):
        read(manifest(tmp_path, {"id": "a", "text": "x"}, {"id": "a", "text": "y"}))
    with pytest.raises(DataError, match="holds no items"):
        read(manifest(tmp_path))
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "none.jsonl")


def test_the_committed_set_is_whole_and_was_never_trained_on():
    items = read(COMMITTED_SET)
    assert all(item.audio is None or item.audio.is_file() for item in items)
    assert {target for item in items for target, there in item.truth.items() if there} == set(TARGETS)
    trained = "".join(
        path.read_text(encoding="utf-8").lower()
        for path in (ROOT / "training" / "text_safety" / "data").rglob("*")
        if path.suffix in (".yaml", ".json", ".jsonl", ".txt") and "test" not in path.parts
    )
    spoken = {item.transcript.lower() for item in items if item.transcript and item.slices["kind"] == "harmful"}
    assert len(trained) > 10_000
    assert not [text for text in spoken if text.rstrip(".") in trained]
