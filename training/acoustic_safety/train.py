"""Train the acoustic head: `python -m training.acoustic_safety.train DATA/sounds --packages FOLDER --yamnet FILE`.

Makes scenes, runs the two frozen networks on them once, trains a head for each fold and one on all, chooses thresholds
on what each fold's head has not heard, and writes the weights with the thresholds folded into the biases. It resumes:
what lies in the work folder is not made again. `training.acoustic_safety.evaluate` reads the same folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aircheck.inference.acoustic_safety.embedded import WEIGHTS_PATH, multiplied_out
from aircheck.inference.acoustic_safety.events import SAFETY_EVENTS
from aircheck.inference.acoustic_safety.features import Features, WhisperFeatures
from aircheck.inference.acoustic_safety.head import LEARNED, AcousticHead
from aircheck.inference.acoustic_safety.yamnet import YamnetTrunk
from training.acoustic_safety.cache import Cached
from training.acoustic_safety.clips import FOLDS, Audio, Clip, decode, digest, read_manifest
from training.acoustic_safety.fit import TrainingSet, fit
from training.acoustic_safety.folds import ALL, choose_context_threshold, choose_threshold
from training.acoustic_safety.packages import read_packages
from training.acoustic_safety.recordings import Recordings
from training.acoustic_safety.scenes import SYNTHETIC_KINDS, Pool, Scene, make_scene
from training.acoustic_safety.sounds import EVENTS
from training.acoustic_safety.yamnet_weights import read_yamnet

VERSION = "3"
WORK = Path("out/acoustic_safety")
SCENES = 6_000
SYNTHETIC_SCENES = 480
VOICES = ("speech", "x_shout", "x_voice")
MOST_VOICES = 240


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path, help="folder with labelled recordings and manifest.jsonl")
    parser.add_argument("--packages", type=Path, required=True, help="folder with the unpacked `packages.PACKAGES`")
    parser.add_argument("--yamnet", type=Path, required=True, help="yamnet.tflite")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of what is computed on the way")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--output", type=Path, default=WEIGHTS_PATH)
    options = parser.parse_args()
    torch.set_num_threads(1)

    trunk, rows, biases = read_yamnet(options.yamnet)
    features = load_features(trunk)
    clips = [clip for clip in [*read_manifest(options.sounds), *read_packages(options.packages)] if clip.fold >= 0]
    scenes, targets, folds = scene_features(options.work, features, clips, options.scenes)
    heard = recordings(options.work, features, options.sounds, options.packages)
    plain = [part for part in heard if part.name != "voices"]  # these are in the scenes
    as_they_are = [item for part in plain for item in part.items()]
    synthetic = synthetic_features(options.work, features, clips)
    data = TrainingSet.of(scenes, targets, folds, output_layer(rows, biases), as_they_are, synthetic)
    heads = {fold: fit(data, fold if fold != ALL else None) for fold in (ALL, *range(FOLDS))}
    held_out = [
        scored for part in heard for scored, clip in zip(part.score(heads), part.clips, strict=True) if clip.fold != ALL
    ]
    thresholds = {event: choose_threshold(held_out, event) for event in SAFETY_EVENTS}
    thresholds |= context_thresholds(scenes, targets, folds, heads)
    print(json.dumps(thresholds, indent=1))
    for head in heads.values():
        with_thresholds(head, thresholds)
    for fold, head in heads.items():
        save_head(head, options.work / f"head_{fold}.safetensors")
    save_weights(options.output, heads[ALL], trunk)


def load_features(trunk: dict[str, Tensor]) -> Features:
    """The two frozen networks, as the server runs them on a CPU."""
    yamnet = YamnetTrunk()
    yamnet.load_state_dict(multiplied_out(trunk))
    return Features(WhisperFeatures.load(), yamnet).eval().requires_grad_(False)


def output_layer(rows: Tensor, biases: Tensor) -> nn.Linear:
    layer = nn.Linear(rows.shape[1], rows.shape[0])
    layer.load_state_dict({"weight": rows, "bias": biases})
    return layer.requires_grad_(False)


def scene_features(work: Path, features: Features, clips: Sequence[Clip], count: int) -> tuple[Cached, Tensor, Tensor]:
    """Features, targets and folds of `count` scenes; from the work folder, if they are there."""
    path = work / f"scenes_{count}.safetensors"
    if not path.is_file():
        pools = [pool_of([clip for clip in clips if clip.fold == fold]) for fold in range(FOLDS)]
        made: list[Scene] = []

        def audios() -> Iterator[Audio]:
            rng = np.random.default_rng(0)
            for _ in range(count):
                fold = int(rng.integers(FOLDS))
                made.append(make_scene(rng, pools[fold], fold))
                yield made[-1].audio
                object.__setattr__(made[-1], "audio", None)

        cached = Cached.of(features, audios(), count, "scenes")
        targets = torch.from_numpy(np.stack([scene.target for scene in made]))
        cached.save(path, targets=targets, folds=torch.tensor([scene.fold for scene in made]))
    cached, others = Cached.load(path)
    return cached, others["targets"], others["folds"]


def synthetic_features(work: Path, features: Features, clips: Sequence[Clip]) -> tuple[Cached, Tensor]:
    """Features and targets of synthesised events, alone and under spoken prompts; from the work folder, if there."""
    path = work / f"synthetic_{SYNTHETIC_SCENES}.safetensors"
    if not path.is_file():
        prompts = [clip for clip in clips if clip.label == "speech"]
        pool = Pool({"speech": pool_of(prompts).clips["speech"]}, EVENTS)
        rng = np.random.default_rng(1)
        made = [make_scene(rng, pool, -1, SYNTHETIC_KINDS) for _ in range(SYNTHETIC_SCENES)]
        cached = Cached.of(features, (scene.audio for scene in made), len(made), "synthetic")
        cached.save(path, targets=torch.from_numpy(np.stack([scene.target for scene in made])))
    cached, others = Cached.load(path)
    return cached, others["targets"]


def pool_of(clips: Sequence[Clip]) -> Pool:
    audios: dict[str, list[Audio]] = {}
    for clip in clips:
        audio = decode(clip.path)
        if len(audio) and (peak := np.abs(audio).max()) > 1e-3:
            audios.setdefault(clip.label, []).append(audio / peak)
    return Pool(audios, EVENTS)


def recordings(work: Path, features: Features, sounds: Path, packages: Path) -> list[Recordings]:
    """The labelled recordings, more music, and more voices."""
    more = read_packages(packages)
    music = [clip for clip in more if clip.label == "music"]
    voices = sorted((clip for clip in more if clip.label in VOICES), key=lambda clip: digest(clip.path.name))
    return [
        Recordings.of("recordings", read_manifest(sounds), work, features),
        Recordings.of("music", music, work, features),
        Recordings.of("voices", voices[:MOST_VOICES], work, features),
    ]


def context_thresholds(
    scenes: Cached, targets: Tensor, folds: Tensor, heads: Mapping[int, AcousticHead]
) -> dict[str, float]:
    """Those of speech and music, on each fold's scenes by the head that has not heard them."""
    rows = {fold: torch.nonzero(folds == fold)[:, 0] for fold in range(FOLDS)}
    chances = torch.cat(
        [Cached(scenes.whisper[mine], scenes.yamnet[mine]).probabilities(heads[fold]) for fold, mine in rows.items()]
    ).numpy()
    truth = targets[torch.cat(list(rows.values()))].numpy()
    columns = {event: LEARNED.index(event) for event in LEARNED if event not in SAFETY_EVENTS}
    return {event: choose_context_threshold(chances[..., n], truth[..., n]) for event, n in columns.items()}


def with_thresholds(head: AcousticHead, thresholds: dict[str, float]) -> None:
    """Shift the biases so that each threshold becomes 0.5."""
    with torch.no_grad():
        for event, threshold in thresholds.items():
            head.output.bias[LEARNED.index(event)] -= float(np.log(threshold / (1 - threshold)))


def save_head(head: AcousticHead, path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in head.state_dict().items()}, path)


def load_head(path: Path) -> AcousticHead:
    head = AcousticHead()
    head.load_state_dict(load_file(path))
    return head.eval().requires_grad_(False)


def save_weights(path: Path, head: AcousticHead, trunk: dict[str, Tensor]) -> None:
    """The head in fp16 and YAMNet's trunk in its 8 bits, in one file."""
    tensors = {f"head.{name}": tensor.half().contiguous() for name, tensor in head.state_dict().items()}
    tensors |= {f"yamnet.{name}": tensor for name, tensor in trunk.items()}
    metadata = {
        "version": VERSION,
        "events": json.dumps(LEARNED),
        "recipe": "python -m training.acoustic_safety.train",
        "yamnet": "YAMNet (Google, Apache-2.0), the weights of the published yamnet.tflite, unchanged, renamed",
    }
    save_file(tensors, path, metadata)


if __name__ == "__main__":
    main()
