"""Public data are read with their truth, and with nothing that they do not say."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from aircheck.evaluation.items import EVENTS, DataError
from aircheck.evaluation.readers import read_public as read

HATEFUL = {"id": "h/1", "text": "a", "y": {"hate": 1, "profanity": 0}, "kind": "derog_h|women", "lang": "mandarin"}
HARMLESS = {"id": "h/2", "text": "b", "y": {"hate": 0}, "kind": "ident_nh|men", "lang": "english", "group": "h/9"}
TALK = {"id": "t/0", "segments": ["one two", "three"], "title": "book", "use": "train"}


def lines(path: Path, *items: dict[str, object]) -> None:
    text = "".join(json.dumps(item) + "\n" for item in items)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def test_lines_keep_their_truth_class_group_and_language(tmp_path):
    lines(tmp_path / "hatecheck.jsonl.gz", HATEFUL, HARMLESS)
    hateful, harmless = read("text", (tmp_path,), "measure")
    assert (hateful.source, hateful.truth) == ("hatecheck", {"hate": True, "profanity": False})
    assert hateful.slices == {"kind": "hatecheck/derog_h", "group": "hatecheck/women"}
    assert (hateful.language, harmless.language) == ("zh", "en")
    assert harmless.truth == {"hate": False}  # other categories are unknown, not harmless
    assert harmless.template == "h/9"


def test_a_class_of_several_parts_is_no_group(tmp_path):
    lines(tmp_path / "xstest.jsonl.gz", {"id": "x", "text": "a", "y": {}, "kind": "safe|homonyms|kill"})
    (item,) = read("text", (tmp_path,), "measure")
    assert item.slices == {"kind": "xstest/safe", "subkind": "xstest/safe|homonyms"}


def test_use_and_source_choose_what_is_measured(tmp_path):
    lines(tmp_path / "hatecheck.jsonl.gz", HATEFUL)
    lines(tmp_path / "talk_book.jsonl.gz", TALK)
    assert [item.id for item in read("text", (tmp_path,), "measure")] == ["h/1"]
    (talk,) = read("text", (tmp_path,), "all", ("talk_book",))
    assert (talk.texts, talk.truth, talk.slices) == (("one two", "three"), {}, {"talk": "book"})
    with pytest.raises(DataError, match="no text items of nothing"):
        read("text", (tmp_path,), "all", ("nothing",))


def test_sounds_that_are_no_event_and_speech_are_harmless(tmp_path):
    sounds, speech = tmp_path / "sounds", tmp_path / "speech"
    for folder, names in ((sounds, "ab"), (speech, "c")):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    siren = {"file": "a", "label": "siren", "source": "github:x/y some/path.wav", "use": "measure"}
    lines(sounds / "manifest.jsonl", siren, {"file": "b", "label": "x_dog", "source": "s", "use": "measure"})
    spoken = {"file": "c", "text": "hello", "language": "de", "speaker": "s", "seconds": 1.0, "source": "s"}
    lines(speech / "manifest.jsonl", spoken)
    found = read("sounds", (sounds, speech), "measure")
    assert [item.slices["kind"] for item in found] == ["siren", "x_dog", "speech"]
    assert [sum(item.truth.values()) for item in found] == [1, 0, 0]
    assert all(set(item.truth) == set(EVENTS) for item in found)
    (recording,) = read("speech", (speech,), "measure")
    assert (recording.transcript, recording.language, recording.source) == ("hello", "de", "speech")


@pytest.mark.parametrize(
    ("line", "words"),
    [({"text": "a"}, "line 1: has no id"), ({"id": "a"}, "has neither text nor segments"), ("[", "cannot be read")],
)
def test_a_faulty_line_is_named(tmp_path, line, words):
    text = line if isinstance(line, str) else json.dumps(line)
    (tmp_path / "set.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    with pytest.raises(DataError, match="set.jsonl.gz") as error:
        read("text", (tmp_path,), "all")
    assert words in str(error.value)


def test_a_file_that_was_cut_off_is_named(tmp_path):
    (tmp_path / "set.jsonl.gz").write_bytes(gzip.compress(json.dumps({"id": "a", "text": "b"}).encode())[:-4])
    with pytest.raises(DataError, match=r"set\.jsonl\.gz: cannot be read"):
        read("text", (tmp_path,), "all")


def test_a_missing_recording_and_an_empty_folder_are_named(tmp_path):
    lines(tmp_path / "manifest.jsonl", {"file": "none.flac", "label": "siren", "source": "s"})
    with pytest.raises(DataError, match=r"none\.flac is missing"):
        read("sounds", (tmp_path,), "all")
    with pytest.raises(DataError, match=r"holds no \.jsonl\.gz file"):
        read("text", (tmp_path,), "all")
