"""The acoustic recipe: what is held out together, what a scene's frames say, and what thresholds keep to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aircheck.inference.acoustic_safety.events import SAFETY_EVENTS
from aircheck.inference.acoustic_safety.features import N_WHISPER, STEPS
from aircheck.inference.acoustic_safety.head import CLASSES, LEARNED
from aircheck.inference.acoustic_safety.pieces import FRAME_SAMPLES, PIECE_FRAMES, PIECE_SAMPLES
from aircheck.inference.acoustic_safety.yamnet import N_FEATURES
from training.acoustic_safety.cache import Cached
from training.acoustic_safety.clips import FOLDS, Clip, read_manifest
from training.acoustic_safety.fit import SOMEWHERE, TrainingSet, fit, loss
from training.acoustic_safety.folds import Scored, average_precision, choose_threshold, false_events_per_hour
from training.acoustic_safety.packages import read_packages
from training.acoustic_safety.scenes import UNKNOWN, Pool, make_scene, targets

FRAME = np.arange(PIECE_SAMPLES) // FRAME_SAMPLES


def tone(first: int, last: int, gain: float = 0.5) -> np.ndarray:
    """fp32 [PIECE_SAMPLES] that sounds in the frames first..last."""
    wave = gain * np.sin(np.arange(PIECE_SAMPLES) * 0.3)
    return np.where((first <= FRAME) & (last >= FRAME), wave, 0).astype(np.float32)


def test_a_source_is_held_out_whole_and_what_is_measured_is_never_trained_on(tmp_path: Path) -> None:
    lines = [
        {"file": f"{n}.wav", "label": label, "source": f"debian:{package} a/{n}.wav", "use": use}
        for n, (label, package, use) in enumerate(
            [("gunshot", "one", "train"), ("gunshot", "two", "train")] * 8
            + [("x_door", "one", "train")] * 20
            + [("siren", "three", "measure")]
        )
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    clips = read_manifest(tmp_path)
    for source in ("one", "two"):
        assert len({clip.fold for clip in clips if clip.source == source and clip.label == "gunshot"}) == 1
    assert {clip.fold for clip in clips if clip.use == "measure"} == {-1}
    assert {clip.fold for clip in clips if clip.use == "train"} <= set(range(FOLDS))
    doors = [clip.fold for clip in clips if clip.label == "x_door"]
    assert len(set(doors)) > 1  # a label with one source is divided by recording


def test_packages_are_labelled_by_the_first_pattern_that_fits(tmp_path: Path) -> None:
    root = tmp_path / "hedgewars-data" / "usr/share/games/hedgewars/Data"
    for name in ("Sounds/gun.ogg", "Sounds/explosion.ogg", "Sounds/voices/A/Laugh.ogg", "Sounds/voices/A/Hello.ogg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    found = {(clip.path.name, clip.label, clip.use) for clip in read_packages(tmp_path)}
    assert found == {("gun.ogg", "gunshot", "extra"), ("Hello.ogg", "x_shout", "extra")}


def test_a_scenes_target_is_the_event_where_it_sounds_and_is_loud_enough() -> None:
    event, speech = tone(4, 6), tone(0, 15, gain=0.05)
    target = targets("gunshot", event, speech, "speech")
    gunshot = target[:, LEARNED.index("gunshot")]
    assert (gunshot[4:7] == 1).all()
    assert (gunshot[[3, 7]] == UNKNOWN).all()  # its edges are not asked for
    assert (np.delete(gunshot, range(3, 8)) == 0).all()
    assert (target[:, LEARNED.index("speech")][8:] == 1).all()
    drowned = targets("gunshot", tone(4, 6, gain=0.01), tone(0, 15), "speech")
    assert not (drowned[:, LEARNED.index("gunshot")] == 1).any()


def test_scenes_draw_from_one_fold_and_keep_to_their_form() -> None:
    rng = np.random.default_rng(0)
    sounds = {
        label: [rng.normal(0, 0.1, 40_000).astype(np.float32)]
        for label in ("speech", "music", "x_door", *SAFETY_EVENTS)
    }
    pool = Pool(sounds, {})
    scenes = [make_scene(rng, pool, 3) for _ in range(60)]
    for scene in scenes:
        assert scene.audio.shape == (PIECE_SAMPLES,)
        assert scene.audio.dtype == np.float32
        assert np.isfinite(scene.audio).all()
        assert np.abs(scene.audio).max() > 1e-3
        assert scene.target.shape == (PIECE_FRAMES, len(LEARNED))
        assert scene.fold == 3
    with_event = [scene for scene in scenes if (scene.target[:, : len(SAFETY_EVENTS)] == 1).any()]
    assert 20 <= len(with_event) <= 50
    assert not any(scene.kind.startswith(("other", "music", "speech")) for scene in with_event)


def recording(label: str, scores: dict[str, float], duration_s: float = 30.0, is_measured: bool = True) -> Scored:
    frames = np.zeros((94, len(LEARNED)), np.float32)
    for event, score in scores.items():
        frames[3, LEARNED.index(event)] = score
    return Scored(label, "a", is_measured, duration_s, frames)


def test_figures_of_recordings() -> None:
    recordings = [recording("siren", {"siren": 0.9}), recording("x_door", {"siren": 0.6}), recording("siren", {})]
    assert average_precision(recordings, "siren") == pytest.approx((1 + 2 / 3) / 2)
    assert false_events_per_hour([recording("music", {"scream": 0.7, "music": 1.0}), recording("music", {})]) == 60.0


def test_a_threshold_lies_above_what_harmless_audio_reaches() -> None:
    calm = [recording(label, {"scream": score}) for label in ("speech", "music") for score in (0.1, 0.55, 0.3)]
    threshold = choose_threshold([*calm, *[recording("scream", {"scream": 0.95})] * 9], "scream")
    assert 0.55 < threshold < 0.65


def test_music_may_raise_as_many_events_as_its_budget() -> None:
    music = [recording("music", scores, 1800.0, False) for scores in ({"scream": 0.9, "gunshot": 0.9}, {}, {}, {})]
    found = [recording("scream", {"scream": 0.8})] * 9
    assert choose_threshold([*music, *found], "scream") < 0.1  # one of two hours' recordings may
    assert choose_threshold([*music, *found], "gunshot") > 0.9


def test_a_recording_teaches_what_is_in_it_and_not_where() -> None:
    features = Cached(
        torch.randn(3, PIECE_FRAMES * STEPS, N_WHISPER).half(), torch.randn(3, PIECE_FRAMES, N_FEATURES).half()
    )
    clips = [
        Clip(Path("a"), label, "a", use, fold)
        for label, use, fold in (("siren", "train", 1), ("x_door", "train", 2), ("siren", "measure", -1))
    ]
    scenes = Cached(
        torch.randn(4, PIECE_FRAMES * STEPS, N_WHISPER).half(), torch.randn(4, PIECE_FRAMES, N_FEATURES).half()
    )
    data = TrainingSet.of(
        scenes,
        torch.zeros(4, PIECE_FRAMES, len(LEARNED)),
        torch.zeros(4),
        nn.Linear(N_FEATURES, len(CLASSES)),
        [(clip, features) for clip in clips],
    )
    siren = data.targets[..., LEARNED.index("siren")]
    assert (
        data.folds.tolist() == [0.0] * 4 + [1.0] + [2.0] * 3
    )  # one piece of the event, all of the door, nothing measured
    assert (siren[4] == SOMEWHERE).all()
    assert (siren[5:] == 0).all()
    logits = torch.zeros(1, PIECE_FRAMES, len(LEARNED), requires_grad=True)
    loss(logits, data.targets[4:5], torch.ones(len(LEARNED))).backward()
    assert logits.grad is not None
    pull = logits.grad[0, :, LEARNED.index("siren")]
    assert pull.sum() < 0  # upwards, by the highest frame alone


def test_a_fold_that_is_held_out_is_not_learned_from() -> None:
    rng = torch.Generator().manual_seed(0)
    whisper = torch.randn(60, PIECE_FRAMES * STEPS, N_WHISPER, generator=rng).half()
    yamnet = torch.randn(60, PIECE_FRAMES, N_FEATURES, generator=rng).half()
    scenes_targets = torch.zeros(60, PIECE_FRAMES, len(LEARNED))
    scenes_targets[::2] = 1
    folds = torch.arange(60) % 2
    output = nn.Linear(N_FEATURES, len(CLASSES))
    data = TrainingSet.of(Cached(whisper, yamnet), scenes_targets, folds, output)
    without = fit(data, held_out=0, steps=3)
    spoilt = TrainingSet(
        **{**vars(data), "targets": torch.where(folds[:, None, None] == 0, 1 - scenes_targets, scenes_targets)}
    )
    assert torch.equal(fit(spoilt, held_out=0, steps=3).output.weight, without.output.weight)
    assert not torch.equal(fit(spoilt, held_out=1, steps=3).output.weight, without.output.weight)
    assert torch.equal(without.classes.weight, output.weight)  # YAMNet's own opinion stays as published
