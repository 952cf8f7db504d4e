"""A manifest is read whole or refused with every fault named."""

import json

import pytest

from benchmarks.quality.manifest import Item, Label, ManifestError, read, write

THREAT = {"category": "violence_threat", "start_s": 0.4, "end_s": 1.6}


def manifest(tmp_path, *items):
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def test_what_is_written_is_read_again(tmp_path):
    items = (
        Item(id="a", audio="audio/a.mp3", transcript="", labels=(Label(**THREAT),), slices={"sex": "female"}),
        Item(id="b", text="zwei Äpfel\nund mehr", note="says nothing"),
    )
    write(items, tmp_path / "m.jsonl")
    back = read(tmp_path / "m.jsonl")
    assert back.items == items
    assert back.items[0].transcript == ""  # nothing is said, which is not the same as None: unknown
    assert back.audio_path(back.items[0]) == tmp_path / "audio" / "a.mp3"


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"id": "a"}, "exactly one of audio and text"),
        ({"id": "a", "audio": "a.mp3", "text": "x"}, "exactly one of audio and text"),
        ({"id": "a", "text": "x", "lables": []}, "lables: unknown key; allowed: id, audio"),
        ({"id": "a", "text": "x", "labels": [{"category": "violence"}]}, "'violence' is not in the taxonomy"),
        ({"id": "a", "text": "x", "labels": [{"category": "music"}]}, "'music' is no harm"),
        ({"id": "a", "text": "x", "labels": [{**THREAT, "end_s": 0.1}]}, "end_s 0.1 is not after start_s 0.4"),
        ({"id": "a", "text": "x", "labels": [{"category": "hate", "start_s": 1}]}, "give both or neither"),
        ({"id": "a", "audio": "/etc/passwd"}, "below the manifest's folder"),
        ({"id": "a", "audio": "x/../../secret.wav"}, "below the manifest's folder"),
        ({"id": "a", "text": "x", "slices": {"identity_term": "women"}}, "belong together"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path, item, words):
    path = manifest(tmp_path, {"id": "good", "text": "x"}, item)
    with pytest.raises(ManifestError, match="line 2") as error:
        read(path)
    assert words in str(error.value)


def test_repeated_ids_and_empty_files_are_refused(tmp_path):
    with pytest.raises(ManifestError, match="'a' stands on 2 lines"):
        read(manifest(tmp_path, {"id": "a", "text": "x"}, {"id": "a", "text": "y"}))
    with pytest.raises(ManifestError, match="holds no items"):
        read(manifest(tmp_path))
    with pytest.raises(ManifestError, match="cannot be read"):
        read(tmp_path / "none.jsonl")
