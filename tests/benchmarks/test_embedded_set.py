"""The embedded quality set: what is committed is what the generator makes, and its design is sound."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import signal

from aircheck.inference.text_safety.passages import normalise
from aircheck.policy.taxonomy import HARM_EVENTS, Category
from benchmarks.quality.embedded import FULL_CLIPS
from benchmarks.quality.embedded_make import full_clips, identity_items, make, small_clips
from benchmarks.quality.embedded_plan import TELEPHONE, Clip, Heard, Said, Speaker
from benchmarks.quality.embedded_render import SAMPLE_RATE, encode, flite_is_here, render, speak
from benchmarks.quality.embedded_texts import DATA, GENRES, Texts, TextsError, read_texts
from benchmarks.quality.manifest import EMBEDDED_SET, Item, Manifest, read
from preprocessing.container import Limits
from preprocessing.decoding import DecodeReport, decode
from training.text_safety.lines import read_train

MAX_BYTES = 1_500_000
SHIFT_S = 0.005  # what codecs may add to a label's times
WITHIN_LINES = ("sex", "voice", "accent", "speed", "snr", "music", "codec", "length")
LIMITS = Limits(max_bytes=2**25, max_duration_s=120, max_channels=2, max_sample_rate_hz=48_000)


@cache
def committed() -> Manifest:
    return read(EMBEDDED_SET)


@cache
def texts() -> Texts:
    return read_texts()


@cache
def small() -> dict[str, Clip]:
    return {clip.id: clip for clip in small_clips(texts())}


@cache
def full() -> list[Clip]:
    return full_clips(texts(), FULL_CLIPS)


def decoded(data: bytes) -> np.ndarray:
    return np.concatenate(list(decode(data, LIMITS, DecodeReport())))


def audio_items() -> list[Item]:
    return [item for item in committed().items if item.audio is not None]


# --- the committed set


def test_the_committed_files_are_those_of_the_manifest_and_small() -> None:
    named = {committed().audio_path(item) for item in audio_items()}
    assert named == set((DATA / "audio").iterdir())
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) <= MAX_BYTES


def test_the_committed_set_is_what_the_texts_and_the_plan_say() -> None:
    """After a change of the texts or the plan: python -m benchmarks.quality.embedded benchmarks/quality/data"""
    assert [item.id for item in audio_items()] == list(small())
    for item in audio_items():
        clip = small()[item.id]
        said = [part for part in clip.parts if isinstance(part, Said)]
        assert item.transcript == " ".join(part.text for part in said)
        assert item.slices == clip.slices
        harm = {category.value for part in said for category in part.categories}
        assert {label.category for label in item.labels} - set(HARM_EVENTS) == harm
    identity = [item for item in committed().items if item.text is not None]
    assert identity == list(identity_items(texts().identity, 2))


@pytest.mark.parametrize("item", audio_items(), ids=lambda item: item.id)
def test_a_committed_file_decodes_and_holds_its_spans(item: Item) -> None:
    samples = decoded(committed().audio_path(item).read_bytes())
    length_s = len(samples) / SAMPLE_RATE
    for label in item.labels:
        assert label.start_s is not None
        assert label.end_s is not None
        assert label.end_s <= length_s + 0.01
        inside = samples[round(label.start_s * SAMPLE_RATE) : round(label.end_s * SAMPLE_RATE)]
        assert np.sqrt(np.mean(inside**2)) > 0.005
    if item.slices["kind"] == "no speech" and item.slices["no_speech"] == "digital silence":
        assert not np.abs(samples).max() > 1e-3
    else:
        assert np.abs(samples).max() > 0.02


def test_a_committed_file_sounds_like_its_plan_in_every_codec() -> None:
    codecs: dict[str, Item] = {}
    for item in audio_items():
        if "codec" in item.slices:
            codecs.setdefault(item.slices["codec"], item)
    assert len(codecs) >= 5
    for codec, item in codecs.items():
        made = render(small()[item.id])
        heard = decoded(committed().audio_path(item).read_bytes())
        size = min(len(heard), len(made.samples))
        likeness = signal.correlate(heard[:size], made.samples[:size], mode="full", method="fft")
        likeness /= np.linalg.norm(heard[:size]) * np.linalg.norm(made.samples[:size])
        assert likeness.max() > (0.3 if codec == TELEPHONE else 0.95), codec
        assert abs(int(likeness.argmax()) - size + 1) / SAMPLE_RATE < SHIFT_S, codec
        assert made.labels == item.labels


def test_every_category_event_and_slice_stands_in_the_committed_set() -> None:
    labels = Counter(label.category for item in audio_items() for label in item.labels)
    assert set(labels) == {*Category, *HARM_EVENTS}
    values: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for item in audio_items():
        for name, value in item.slices.items():
            values[name][value] += 1
    assert set(values["genre"]) == set(GENRES)
    for name in WITHIN_LINES:
        assert len(values[name]) >= 2, name
        assert min(values[name].values()) >= 3, name
    assert {"harmful", "hard negative", "plain", "hard negative sound", "no speech"} <= set(values["kind"])
    assert all(item.labels for item in audio_items() if item.slices["kind"] in ("harmful", "harmful sound"))
    wordless = [item for item in audio_items() if item.slices["kind"] == "no speech"]
    assert len(wordless) >= 5
    assert all(item.transcript == "" and not item.labels for item in wordless)


def test_length_slices_tell_the_length() -> None:
    bounds_s = {"under 5 s": (0, 5), "5 to 15 s": (5, 15), "over 15 s": (15, 30)}
    for item in audio_items():
        if "length" in item.slices:
            least_s, most_s = bounds_s[item.slices["length"]]
            assert least_s <= len(decoded(committed().audio_path(item).read_bytes())) / SAMPLE_RATE < most_s, item.id


# --- the design


@pytest.mark.parametrize("clips", [lambda: list(small().values()), full], ids=["small", "full"])
def test_every_value_of_a_factor_is_heard_on_the_same_lines_with_all_else_equal(
    clips: Callable[[], list[Clip]],
) -> None:
    heard: dict[str, defaultdict[str, dict[str, Clip]]] = {name: defaultdict(dict) for name in WITHIN_LINES}
    for clip in clips():
        for name in WITHIN_LINES:
            if name in clip.slices:
                heard[name][clip.slices[name]][clip.seed] = clip
    for name, values in heard.items():
        assert len({frozenset(by_line) for by_line in values.values()}) == 1, name
        for line in next(iter(values.values())):
            for one, other in itertools.combinations([by_line[line] for by_line in values.values()], 2):
                assert differing(one, other) == 1, (one.id, other.id)


def differing(one: Clip, other: Clip) -> int:
    """How many things differ between two clips of a line: the speaker, the words around, noise, music, the codec."""
    speakers = [{part.speaker for part in clip.parts if isinstance(part, Said)} for clip in (one, other)]
    words = [[part.text for part in clip.parts if isinstance(part, Said)] for clip in (one, other)]
    return sum(
        (
            speakers[0] != speakers[1],
            words[0] != words[1],
            one.snr_db != other.snr_db,
            one.music_db != other.music_db,
            one.codec != other.codec,
        )
    )


def harm_of(part: Said | Heard) -> tuple[Category, ...]:
    return part.categories if isinstance(part, Said) else ()


def test_the_full_set_has_every_line_kind_and_factor_and_about_the_wanted_size() -> None:
    ids = [clip.id for clip in full()]
    assert len(set(ids)) == len(ids)
    assert 1100 <= len(ids) <= 1300
    assert 600 <= len(full_clips(texts(), 600)) <= 680
    swept = {category for clip in full() if "snr" in clip.slices for p in clip.parts for category in harm_of(p)}
    assert swept == set(Category)
    genres = Counter(clip.slices["genre"] for clip in full() if "genre" in clip.slices)
    assert max(genres.values()) - min(genres.values()) <= 3
    assert sum(clip.note == "held-out line of the text head" for clip in full()) >= 50
    assert {clip.id for clip in full() if clip.id.startswith("episode-")} == {
        "episode-late-kitchen",
        "episode-river-case",
    }


def test_identity_sentences_differ_in_the_group_alone() -> None:
    items = list(identity_items(texts().identity))
    sentences = {item.slices["identity_sentence"] for item in items}
    terms = {item.slices["identity_term"] for item in items}
    assert len(sentences) >= 8
    assert len(terms) >= 12
    assert len(items) == len(sentences) * len(terms)
    for sentence in sentences:
        said = [item for item in items if item.slices["identity_sentence"] == sentence]
        assert len({(item.text or "").lower().replace(item.slices["identity_term"], "…") for item in said}) == 1
        assert len({item.labels for item in said}) == 1


# --- the texts


def test_no_text_stands_in_the_training_data() -> None:
    trained = {line.text for line in read_train()}
    own = texts()
    said = [line.text for line in (*own.harmful, *own.hard_negatives, *own.plain)]
    said += [turn.host or turn.guest or "" for script in own.episodes.values() for turn in script.lines]
    said += [item.text or "" for item in identity_items(own.identity)]
    assert [text for text in said if text and normalise(text) in trained] == []


def test_a_faulty_text_file_is_named_with_its_entry(tmp_path: Path) -> None:
    for path in DATA.glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    lines = (tmp_path / "lines.yaml").read_text()
    (tmp_path / "lines.yaml").write_text(lines.replace("    comedy:", "    sport:", 1))
    with pytest.raises(TextsError, match=r"lines.yaml: .*'sport' of line .* is repeated"):
        read_texts(tmp_path)
    (tmp_path / "lines.yaml").write_text(lines.replace("    comedy:", "    # comedy:", 1))
    with pytest.raises(TextsError, match="hate, harmful: no line for the genre 'comedy'"):
        read_texts(tmp_path)
    (tmp_path / "lines.yaml").write_text(lines.replace("nine Mill Lane", "9 Mill Lane"))
    with pytest.raises(TextsError, match=r"lines.yaml: privacy_doxxing.harmful.interview"):
        read_texts(tmp_path)
    (tmp_path / "lines.yaml").write_text(lines)
    episodes = (tmp_path / "episodes.yaml").read_text()
    (tmp_path / "episodes.yaml").write_text(episodes.replace("sound: siren", "sound: sirren"))
    with pytest.raises(TextsError, match=r"episodes.yaml: river-case.lines.12: .*no sound 'sirren'"):
        read_texts(tmp_path)


# --- rendering


def test_a_clip_sounds_the_same_every_time_and_unlike_another() -> None:
    clips = [clip for clip in small().values() if clip.slices.get("snr") == "10 dB" or clip.over][:4]
    once = [render(clip) for clip in clips]
    speak.cache_clear()
    again = [render(clip) for clip in clips]
    for first, second in zip(once, again, strict=True):
        assert np.array_equal(first.samples, second.samples)
        assert first.labels == second.labels
    assert not np.array_equal(once[0].samples, once[1].samples)


def test_flite_sounds_the_same_every_time_and_unlike_another_voice() -> None:
    if not flite_is_here():
        pytest.skip("flite's libraries are not installed (Debian, Ubuntu: apt install flite)")
    voices = [Speaker(voice, "male", engine="flite") for voice in ("rms", "awb")]
    speak.cache_clear()
    once = [speak("The bridge is open.", voice) for voice in voices]
    speak.cache_clear()
    again = [speak("The bridge is open.", voice) for voice in voices]
    assert all(np.array_equal(first, second) for first, second in zip(once, again, strict=True))
    assert not np.array_equal(*once)


def test_noise_lies_as_far_below_the_voice_as_its_slice_says() -> None:
    line = next(clip.seed for clip in small().values() if clip.slices.get("snr") == "5 dB")
    clean, five, twenty = (
        render(small()[line + change]).samples.astype(float) for change in ("", "--snr-5-db", "--snr-20-db")
    )
    assert level_db(five - clean) - level_db(twenty - clean) == pytest.approx(15, abs=0.1)
    assert level_db(clean) - level_db(five - clean) == pytest.approx(5, abs=3)  # pauses make the clip's own level lower


def level_db(samples: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(samples**2))))


def test_making_a_set_again_leaves_no_old_audio_and_nothing_else_touched(tmp_path: Path) -> None:
    clips = list(small().values())
    console = Console(quiet=True)
    make(tmp_path, clips[:2], [], console)
    (tmp_path / "notes.txt").write_text("mine")
    make(tmp_path, clips[1:3], [], console)
    assert {path.name for path in (tmp_path / "audio").iterdir()} == {f"{clip.id}.opus" for clip in clips[1:3]}
    assert [item.id for item in read(tmp_path / "manifest.jsonl").items] == [clip.id for clip in clips[1:3]]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_telephone_leaves_nothing_above_its_band() -> None:
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE * 2).astype(np.float32) * 0.1
    heard = decoded(encode(noise, TELEPHONE))
    power = np.abs(np.fft.rfft(heard)) ** 2
    hz = np.fft.rfftfreq(len(heard), 1 / SAMPLE_RATE)
    assert power[hz > 4200].sum() < 1e-3 * power.sum()
