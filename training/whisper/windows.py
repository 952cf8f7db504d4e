"""Training windows: utterances laid out with pauses, made noisy, with the tokens Whisper should write for them."""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch
from scipy.signal import lfilter
from torch import Tensor
from whisper.audio import mel_filters
from whisper.tokenizer import get_tokenizer

from training.whisper.model import tail_positions
from training.whisper.speak import log_mel

TOKENIZER = get_tokenizer(multilingual=False)
SOT, EOT, NO_SPEECH, T0 = TOKENIZER.sot, TOKENIZER.eot, TOKENIZER.no_speech, TOKENIZER.timestamp_begin
N_VOCAB = 51864
LATEST_START = 50  # 1.0 s: whisper.decode allows no later first timestamp (max_initial_timestamp)
DIGITAL_SILENCE = -10.0  # log10 mel power of zeros

# mel frames of a batch's windows: share of batches, most utterances in one window
LENGTHS: dict[int, tuple[float, int]] = {
    400: (0.20, 1), 500: (0.22, 2), 600: (0.28, 2), 800: (0.14, 3), 1000: (0.08, 3), 1240: (0.06, 4), 3000: (0.02, 9),
}  # fmt: skip
TWICE = "flite/"  # voices drawn twice as often as they were spoken
NO_SPEECH_SHARE = 0.08
NOISY_SHARE = 0.5
WARPED_SHARE = 0.25  # windows of a longer or shorter vocal tract


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """What windows are made of, for the command line of whoever makes some."""
    parser.add_argument("shards", type=Path, nargs="+", help="shards written by speak.py, without suffix")
    parser.add_argument("--sounds", type=Path, required=True, help="written by sounds.py, without suffix")


class Corpus:
    """Utterances of one or more shards written by speak.py; features stay on disk."""

    def __init__(self, shards: list[Path], phones: dict[str, int]) -> None:
        """phones: name -> id, 0 kept for silence; names the shards add beyond it count as silence."""
        self.phones = phones
        self.mels, self.texts, self.voices = [], [], []
        self.where: list[tuple[int, int, int, int]] = []  # shard, first frame, frames, first phone
        self.tokens: list[list[int]] = []
        self.spans: list[list[tuple[int, int]]] = []  # per token: 20 ms frames of its word, with margins
        self.labels: list[np.ndarray] = []
        pieces: dict[str, list[int]] = {}
        for number, shard in enumerate(shards):
            meta, arrays = json.loads(shard.with_suffix(".json").read_text()), np.load(shard.with_suffix(".npz"))
            self.mels.append(np.memmap(shard.with_suffix(".mel"), dtype=np.float16, mode="r").reshape(-1, 80))
            local = np.zeros(256, np.uint8)
            for name, i in meta["phones"].items():
                local[i] = phones.get(name, 0)
            self.labels.append(local[arrays["phones"]])
            offsets, words, word_offsets = arrays["offsets"], arrays["words"], arrays["word_offsets"]
            at = 0
            for i, text in enumerate(meta["texts"]):
                frames = int(offsets[i + 1] - offsets[i])
                self.where.append((number, int(offsets[i]), frames, at))
                at += (frames + 1) // 2
                tokens, spans = [], []
                for word, (start, end) in zip(text.split(), words[word_offsets[i] : word_offsets[i + 1]], strict=True):
                    if word not in pieces:
                        pieces[word] = TOKENIZER.encode(" " + word)
                    tokens += pieces[word]
                    spans += [(int(start * 50) - 3, int(end * 50) + 5)] * len(pieces[word])
                self.tokens.append(tokens)
                self.spans.append(spans)
            self.texts += meta["texts"]
            self.voices += meta["voices"]
        self.frames = np.array([w[2] for w in self.where])
        picks = np.repeat(np.arange(len(self.texts)), [1 + v.startswith(TWICE) for v in self.voices])
        self.by_length = picks[np.argsort(self.frames[picks], kind="stable")]
        self.lengths = self.frames[self.by_length]
        self.picks: list[int] = picks.tolist()
        self.by_voice: dict[str, list[int]] = {}
        for i, voice in enumerate(self.voices):
            self.by_voice.setdefault(voice, []).append(i)

    def __len__(self) -> int:
        return len(self.texts)

    def mel(self, i: int) -> np.ndarray:
        shard, first, frames, _ = self.where[i]
        return self.mels[shard][first : first + frames]

    def phone_labels(self, i: int) -> np.ndarray:
        shard, _, frames, at = self.where[i]
        return self.labels[shard][at : at + (frames + 1) // 2]

    def between(self, low: int, high: int, rng: random.Random) -> int | None:
        """A random utterance of low to high mel frames, None where there is none."""
        a, b = np.searchsorted(self.lengths, [low, high])
        return int(self.by_length[rng.randrange(a, b)]) if b > a else None


def phone_table(shards: list[Path]) -> dict[str, int]:
    """Phones met more than 200 times (20 ms frames) -> id from 1; 0 is silence."""
    counts: dict[str, int] = {}
    for shard in shards:
        names = json.loads(shard.with_suffix(".json").read_text())["phones"]
        histogram = np.bincount(np.load(shard.with_suffix(".npz"))["phones"], minlength=256)
        for name, i in names.items():
            counts[name] = counts.get(name, 0) + int(histogram[i])
    return {name: i for i, name in enumerate(sorted(n for n, c in counts.items() if c > 200), start=1)}


def warp(factor: float) -> np.ndarray:
    """fp32 [80, 80]: mel power times this has its frequencies multiplied by about `factor` (bands interpolated)."""
    bands = mel_filters("cpu", 80).numpy()
    centres = (bands * np.arange(201)).sum(1) / bands.sum(1)
    source = np.interp(centres / factor, centres, np.arange(80.0))
    below = np.minimum(source.astype(int), 78)
    matrix, share = np.zeros((80, 80), np.float32), (source - below).astype(np.float32)
    matrix[below, np.arange(80)], matrix[below + 1, np.arange(80)] = 1 - share, share
    return matrix


@dataclass
class Row:
    mel: np.ndarray  # fp32 [frames, 80], log10 power, digital silence where nothing is
    content: int  # mel frames before the zero padding
    inputs: list[int]
    targets: list[int]
    spans: list[tuple[int, int]]  # per target: where to look, in 20 ms frames; (0, 0) for anywhere
    phones: np.ndarray  # int64 [frames / 2]


@dataclass
class Batch:
    """Windows of one length."""

    mel: Tensor  # fp32 [B, 80, frames], normalised
    floor: Tensor  # fp32 [B], normalised value of zero padding
    inputs: Tensor  # int64 [B, T]
    targets: Tensor  # int64 [B, T], token ids, -100 ignored
    guide: Tensor  # bool [B, T, frames / 2]
    phones: Tensor  # int64 [B, frames / 2]


class WindowMaker:
    """Draws batches of windows; all randomness from one seed."""

    def __init__(self, corpus: Corpus, sounds: Path, seed: int) -> None:
        """sounds: written by sounds.py."""
        self.corpus, self.rng, self.np_rng = corpus, random.Random(seed), np.random.default_rng(seed)
        with np.load(sounds.with_suffix(".npz")) as arrays:
            self.sounds = np.split(arrays["mel"], arrays["offsets"][1:-1])
        white = log_mel(self.np_rng.standard_normal(60 * 16000).astype(np.float32) * 0.1).astype(np.float32)
        self.noise = white - np.log10((10.0**white).mean(0))  # how noise flickers about its mean, per band

    def sound_mel(self, frames: int) -> np.ndarray:
        """fp32 [frames, 80] of something that is not speech, begun anywhere and repeated as needed."""
        mel = self.rng.choice(self.sounds)
        return np.roll(np.tile(mel, (frames // len(mel) + 1, 1)), self.rng.randrange(len(mel)), 0)[:frames].astype("f4")

    def choose(self, frames: int, most: int) -> list[int]:
        """Utterances for one window of this many frames: one that nearly fills it, or several."""
        rng, corpus = self.rng, self.corpus
        if most == 1 or rng.random() < 0.4:
            i = corpus.between(int(frames * rng.uniform(0.3, 0.75)), int(frames * 0.92), rng)
            if i is not None:
                return [i]
        pool: Sequence[int] = corpus.picks
        if rng.random() < 0.5:
            pool = corpus.by_voice[corpus.voices[rng.choice(pool)]]
        return [rng.choice(pool) for _ in range(rng.randint(2, most) if most < 6 else most)]

    def speech(self, frames: int, most: int) -> Row | None:
        rng, corpus = self.rng, self.corpus
        mel = np.full((frames, 80), DIGITAL_SILENCE, np.float32)
        phones = np.zeros(frames // 2, np.int64)
        inputs, spans = [SOT], []
        at = end = 2 * (rng.randint(0, 25) if rng.random() < 0.93 else rng.randint(25, 110))  # even: whole 20 ms frames
        for i in self.choose(frames, most):
            n = int(corpus.frames[i])
            if at + n > frames - 4:
                continue
            mel[at : at + n] = corpus.mel(i).astype(np.float32) + rng.uniform(-0.3, 0.3)
            q, end = at // 2, (at + n + 1) // 2
            labels = corpus.phone_labels(i)
            phones[q : q + len(labels)] = labels
            inputs += [T0 + (q if len(inputs) > 1 else min(q, LATEST_START)), *corpus.tokens[i], T0 + end]
            spans += [(q - 4, q + 6), *((a + q, b + q) for a, b in corpus.spans[i]), (end - 8, end + 6)]
            at = 2 * end + 2 * (rng.randint(10, 45) if rng.random() < 0.85 else rng.randint(45, 120))
        if not spans:
            return None
        content = min(frames, 2 * end + rng.choice([0, 4, rng.randint(0, 120)]))
        return Row(mel, content, inputs, [*inputs[1:], EOT], [*spans, (0, 0)], phones)

    def no_speech(self, frames: int) -> Row:
        """[sot] -> no_speech, as openai-whisper learned it, and any forced first timestamp -> end of text."""
        mel, content = np.full((frames, 80), DIGITAL_SILENCE, np.float32), self.rng.randint(frames // 4, frames)
        if self.rng.random() < 0.85:
            mel[:content] = self.sound_mel(content) + self.rng.uniform(-2, 0.3)
        first = T0 + (0 if self.rng.random() < 0.5 else self.rng.randint(0, LATEST_START))
        return Row(mel, content, [SOT, first], [NO_SPEECH, EOT], [(0, 0)] * 2, np.zeros(frames // 2, np.int64))

    def spoil(self, row: Row) -> None:
        """Gain, channel, room, background and noise, in the power domain; in place, before the zero padding."""
        rng, x = self.rng, row.mel[: row.content]
        if rng.random() < WARPED_SHARE:  # vocal tract length perturbation, Jaitly and Hinton 2013
            x[:] = np.log10(np.maximum(10.0**x @ warp(rng.uniform(0.88, 1.14)), 1e-10))
        if rng.random() < 0.12:  # a room: each band's power dies away exponentially behind the sound
            decay = np.exp(-13.8 * 0.01 / rng.uniform(0.15, 0.6))  # 60 dB down after that many seconds
            power, level = 10.0**x, 10 ** rng.uniform(-2.5, -1.3)
            x[:] = np.log10(power + level * lfilter([1.0], [1.0, -decay], power, axis=0))
        if rng.random() < 0.1:  # narrow band: a codec or a cheap resampler
            x[:, rng.randint(60, 79) :] -= rng.uniform(0.5, 5)
        x += np.cumsum(self.np_rng.standard_normal(80) * 0.02).astype(np.float32) + rng.uniform(-2.0, 0.4)
        loudness = float(np.quantile(x.max(1), 0.9))
        if rng.random() < 0.15:
            background = self.sound_mel(len(x))
            background += loudness - rng.uniform(1.0, 3.5) - np.quantile(background.max(1), 0.9)
            np.copyto(x, np.log10(10.0**x + 10.0**background))
        if rng.random() < NOISY_SHARE:
            slope = np.cumsum(self.np_rng.standard_normal(80) * 0.1) + rng.uniform(-1.5, 1.5) * np.linspace(0, 1, 80)
            level = loudness - rng.uniform(1.0, 6.0) + slope - slope.mean()
            start = rng.randrange(len(self.noise) - 3000)
            noise = self.noise[start : start + len(x)] + level.astype(np.float32)
            np.copyto(x, np.log10(10.0**x + 10.0**noise))
        np.maximum(x, DIGITAL_SILENCE, out=x)

    def row(self, frames: int, most: int) -> Row:
        if self.rng.random() < NO_SPEECH_SHARE:
            row = self.no_speech(frames)
        else:
            row = next(filter(None, (self.speech(frames, most) for _ in count())))
        self.spoil(row)
        return row

    def batch(self, positions: int) -> Batch:
        """A batch of about this many encoder positions, all its windows of one length."""
        rng = self.rng
        frames = rng.choices(list(LENGTHS), [share for share, _ in LENGTHS.values()])[0]
        size = max(2, positions // (frames // 2 + len(tail_positions(frames))))
        rows = [self.row(frames, LENGTHS[frames][1]) for _ in range(size)]
        mel = np.stack([r.mel for r in rows])
        floor = np.maximum(mel.max((1, 2)) - 8.0, DIGITAL_SILENCE)  # whisper.log_mel_spectrogram's normalisation
        mel, floor = (np.maximum(mel, floor[:, None, None]) + 4) / 4, (floor + 4) / 4
        for x in mel:  # frequency masks, SpecAugment (arXiv:1904.08779)
            if rng.random() < 0.5:
                width = rng.randint(1, 9)
                f = rng.randrange(80 - width)
                x[:, f : f + width] = x.mean()
        n = max(len(r.inputs) for r in rows)
        inputs, targets = torch.full((size, n), EOT), torch.full((size, n), -100)
        guide = torch.zeros(size, n, frames // 2, dtype=torch.bool)
        for k, r in enumerate(rows):
            inputs[k, : len(r.inputs)] = torch.tensor(r.inputs)
            targets[k, : len(r.inputs)] = torch.tensor(r.targets)
            for j, (a, b) in enumerate(r.spans):
                guide[k, j, max(0, a) : max(0, b)] = True
        phones = torch.from_numpy(np.stack([r.phones for r in rows]))
        features = torch.from_numpy(mel).transpose(1, 2)
        return Batch(features, torch.from_numpy(floor), inputs, targets, guide, phones)
