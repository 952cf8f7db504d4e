"""Word error rates of a small Whisper under the conditions of its model card.

Usage: python -m training.whisper.evaluate WEIGHTS.safetensors [--count 120] [--only espeak,flite] [--show 5]

Speaks the hand-written sentences of heldout.txt (never trained on), lays them in windows, and decodes each window as
the server does: zero-padded to 30 s, greedy, with timestamps, through whisper.decode.
"""

import argparse
import io
import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import torch
import whisper
from whisper.tokenizer import get_tokenizer

from training.whisper.model import load
from training.whisper.sounds import KINDS, coloured_noise, sound
from training.whisper.speak import FLITE_VOICES, MAIN_ACCENTS, SAMPLE_RATE, VARIANTS, Espeak, Flite, trim
from training.whisper.text import held_out, plain

TOKENIZER = get_tokenizer(multilingual=False)
SPOKEN_WITHIN_S = 12.0  # longest window the server cuts for this model


@dataclass
class Window:
    samples: np.ndarray  # fp32 at 16 kHz
    texts: list[str]  # one an utterance
    ends_s: list[float] = field(default_factory=list)  # where each utterance falls silent


def edits(a: list[str], b: list[str]) -> int:
    """Fewest insertions, deletions and substitutions of words that turn a into b."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[:], i
        for j, y in enumerate(b, 1):
            row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
    return row[-1]


Voice = Callable[[str], np.ndarray]  # text -> fp32 samples at 16 kHz


def espeak_speaker() -> Callable[[random.Random], Voice]:
    """-> a function that draws a voice."""
    engine = Espeak()

    def voice(rng: random.Random) -> Voice:
        name, rate = rng.choice(MAIN_ACCENTS) + rng.choice(VARIANTS), rng.randint(125, 175)
        return lambda text: engine.speak_as(text, name, rate).samples

    return voice


def flite_speaker() -> Callable[[random.Random], Voice]:
    """-> a function that draws a voice."""
    engine = Flite()

    def voice(rng: random.Random) -> Voice:
        name = rng.choice(FLITE_VOICES)
        return lambda text: engine.speak_as(text, name, 1.0).samples

    return voice


def windows(
    voice: Callable[[random.Random], Voice], texts: list[str], most: int, within_s: float, seed: int
) -> list[Window]:
    """Sentences in order, 1 to `most` a window of at most `within_s` seconds, one voice a window, pauses between."""
    rng, made, at = random.Random(seed), [], 0
    while at < len(texts):
        say, samples, window = (
            voice(rng),
            [np.zeros(int(rng.uniform(0.05, 0.5) * SAMPLE_RATE), np.float32)],
            Window(np.zeros(0, np.float32), []),
        )
        for text in texts[at : at + rng.randint(min(most, 2), most)]:
            speech, _ = trim(say(text))
            if window.texts and sum(map(len, samples)) + len(speech) > within_s * SAMPLE_RATE:
                break
            samples.append(speech)
            window.texts.append(text)
            window.ends_s.append(sum(map(len, samples)) / SAMPLE_RATE - 0.05)  # trim keeps 50 ms after the speech
            samples.append(np.zeros(int(rng.uniform(0.25, 0.9) * SAMPLE_RATE), np.float32))
        window.samples = np.concatenate(samples)[: 30 * SAMPLE_RATE]
        at += len(window.texts)
        made.append(window)
    return made


def with_noise(window: Window, seed: int, snr_db: float = 20) -> Window:
    x = window.samples
    noise = coloured_noise(len(x) + len(x) % 2, np.random.default_rng(seed))[: len(x)]
    scale = np.sqrt((x[x != 0] ** 2).mean() / (noise**2).mean() / 10 ** (snr_db / 10))
    return Window((x + scale * noise).astype(np.float32), window.texts, window.ends_s)


def with_mp3(window: Window) -> Window:
    """64 kbit/s MP3, encoded and decoded with PyAV; the codec's delay is left in, as a file would carry it."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as out:
        stream = out.add_stream("mp3", rate=SAMPLE_RATE, layout="mono", bit_rate=64000)
        frame = av.AudioFrame.from_ndarray(
            (window.samples * 32767).astype(np.int16)[None], format="s16p", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            out.mux(packet)
    file.seek(0)
    with av.open(file, "r") as source:
        pieces = [frame.to_ndarray().reshape(-1) for frame in source.decode(audio=0)]
    decoded = np.concatenate(pieces).astype(np.float32)
    return Window(decoded, window.texts, window.ends_s)


def with_gain(window: Window, seed: int) -> Window:
    gain = 10 ** (random.Random(seed).uniform(-26, 3) / 20)
    return Window(np.clip(window.samples * gain, -1, 1), window.texts, window.ends_s)


def decode(model: whisper.Whisper, made: list[Window], quick: bool, size: int = 16) -> list[whisper.DecodingResult]:
    """Greedy, with timestamps, windows padded to 30 s."""
    results = []
    for i in range(0, len(made), size):
        padded = [whisper.pad_or_trim(torch.from_numpy(np.ascontiguousarray(w.samples))) for w in made[i : i + size]]
        mel = torch.stack([whisper.log_mel_spectrogram(x) for x in padded]).to(model.device)
        if quick:
            with torch.autocast(model.device.type, torch.bfloat16), torch.inference_mode():
                mel = model.encoder(mel).float()  # whisper.decode takes features, too
        results += whisper.decode(model, mel, whisper.DecodingOptions(fp16=False, language="en"))
    return results


def heard(result: whisper.DecodingResult) -> tuple[list[str], list[float]]:
    """-> words, end times of the segments in seconds."""
    marked = TOKENIZER.decode_with_timestamps(result.tokens)
    ends = [float(t) for t in re.findall(r"<\|(\d+\.\d+)\|>", marked)][1::2]
    return plain(re.sub(r"<\|[^|]*\|>", " ", marked)), ends


def measure(model: whisper.Whisper, made: list[Window], quick: bool, show: int) -> dict[str, float]:
    """WER, median absolute error of segment ends (windows with the right number of them) and their share."""
    wrong = words = matched = 0
    errors: list[float] = []
    for window, result in zip(made, decode(model, made, quick), strict=True):
        said, (text, ends) = [w for t in window.texts for w in plain(t)], heard(result)
        wrong += edits(said, text)
        words += len(said)
        if len(ends) == len(window.ends_s):
            matched += 1
            errors += [abs(a - b) for a, b in zip(ends, window.ends_s, strict=True)]
        if (show := show - 1) >= 0:
            print(f"    said  {' | '.join(window.texts)}\n    heard {TOKENIZER.decode_with_timestamps(result.tokens)}")
    end_error = float(np.median(errors)) if errors else float("nan")
    return {"wer": wrong / words, "end_error_s": end_error, "segments_right": matched / len(made), "words": words}


def measure_silence(model: whisper.Whisper, quick: bool, each: int) -> dict[str, float]:
    """Windows of sound without speech: share with no-speech probability over 0.6, share with no words."""
    rng = np.random.default_rng(77)
    made = [Window(sound(rng.uniform(2, 12), rng, kind.__name__)[1], []) for kind in KINDS for _ in range(each)]
    made += [Window(np.zeros(SAMPLE_RATE * 4, np.float32), [])]
    results = decode(model, made, quick)
    words = [len(heard(r)[0]) for r in results]
    sure = [r.no_speech_prob > 0.6 for r in results]
    missed = {}
    for i, kind in enumerate(KINDS):
        if n := each - sum(sure[i * each : (i + 1) * each]):
            missed[kind.__name__] = n
    print(f"    not sure of no speech, of {each} each: {missed}")
    return {
        "no_speech_over_0.6": float(np.mean(sure)),
        "without_words": float(np.mean([w == 0 for w in words])),
        "words_a_window": float(np.mean(words)),
    }


def conditions(count: int) -> dict[str, Callable[[], list[Window]]]:
    texts = held_out()[:count]
    shuffled = random.Random(3).sample(texts, len(texts))
    espeak, flite = espeak_speaker(), flite_speaker()
    return {
        "espeak one": lambda: windows(espeak, texts, 1, 30, 1),
        "espeak several": lambda: windows(espeak, shuffled, 3, SPOKEN_WITHIN_S, 2),
        "flite one": lambda: windows(flite, texts, 1, 30, 3),
        "flite several": lambda: windows(flite, shuffled, 3, SPOKEN_WITHIN_S, 4),
        "noise 20 dB": lambda: [with_noise(w, i) for i, w in enumerate(windows(espeak, texts, 1, 30, 5))],
        "mp3 64 kbit/s": lambda: [with_mp3(w) for w in windows(espeak, texts, 1, 30, 6)],
        "gain": lambda: [with_gain(w, i) for i, w in enumerate(windows(espeak, texts, 1, 30, 7))],
        "long 30 s": lambda: windows(espeak, shuffled, 9, 29, 8),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--count", type=int, default=120, help="sentences of heldout.txt to speak")
    parser.add_argument("--only", default="", help="comma-separated beginnings of condition names")
    parser.add_argument("--show", type=int, default=0, help="transcripts to print a condition")
    parser.add_argument(
        "--silence", type=int, default=8, help="windows of each kind of sound without speech, 0 for none"
    )
    parser.add_argument("--quick", action="store_true", help="encoder in bfloat16: faster, not what the table reports")
    parser.add_argument("--json", type=Path, help="write the results here too")
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    model = load(o.weights).eval().to("cuda" if torch.cuda.is_available() else "cpu")
    results = {}
    for name, make in conditions(o.count).items():
        if not o.only or any(name.startswith(part) for part in o.only.split(",")):
            begun = time.time()
            r = results[name] = measure(model, made := make(), o.quick, o.show)
            print(
                f"{name:15} WER {r['wer']:.3f}  end error {r['end_error_s']:.2f} s  right segments "
                f"{r['segments_right']:.2f}  ({len(made)} windows, {r['words']} words, {time.time() - begun:.0f} s)",
                flush=True,
            )
    if o.silence:
        r = results["no speech"] = measure_silence(model, o.quick, o.silence)
        print("no speech      ", "  ".join(f"{k} {v:.2f}" for k, v in r.items()))
    if o.json:
        o.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
