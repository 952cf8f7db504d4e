"""Word error rates of a small Whisper under the conditions of its model card.

Usage: python -m training.whisper.evaluate WEIGHTS.safetensors [--count 120] [--only unseen,festival] [--show 5]

Speaks the hand-written sentences of heldout.txt (never trained on), lays them in windows, and decodes each window as
the server does: zero-padded to 30 s, greedy, with timestamps, through whisper.decode.
"""

import argparse
import json
import random
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import whisper
from scipy.io import wavfile
from whisper.tokenizer import get_tokenizer

from aircheck.inference.whisper.weights.checkpoint import from_path
from aircheck.measures.words import word_errors
from training.whisper.channel import through_codec
from training.whisper.sounds import KINDS, coloured_noise, sound
from training.whisper.speak import (
    FLITE_VOICES,
    HELD_OUT_VARIANTS,
    LEAD,
    MAIN_ACCENTS,
    SAMPLE_RATE,
    TAIL,
    VARIANTS,
    Espeak,
    Flite,
    trim,
)
from training.whisper.text import held_out, plain

TOKENIZER = get_tokenizer(multilingual=False)


@dataclass
class Window:
    samples: np.ndarray  # fp32 at 16 kHz
    texts: list[str]  # one an utterance
    bounds_s: list[tuple[float, float]] = field(default_factory=list)  # where each utterance begins and ends


Voice = Callable[[str], np.ndarray]  # text -> fp32 samples at 16 kHz


def espeak_speaker(variants: list[str]) -> Callable[[random.Random], Voice]:
    """-> a function that draws a voice of these variants."""
    engine = Espeak()

    def voice(rng: random.Random) -> Voice:
        name, rate = rng.choice(MAIN_ACCENTS) + rng.choice(variants), rng.randint(125, 175)
        return lambda text: engine.speak_as(text, name, rate).samples

    return voice


def flite_speaker() -> Callable[[random.Random], Voice]:
    """-> a function that draws a voice."""
    engine = Flite()

    def voice(rng: random.Random) -> Voice:
        name = rng.choice(FLITE_VOICES)
        return lambda text: engine.speak_as(text, name, 1.0).samples

    return voice


def festival_speaker(name: str) -> Callable[[random.Random], Voice]:
    """-> a function that gives one voice of Festival (Debian: festival and the package of the voice)."""

    def speak(text: str) -> np.ndarray:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            command = ["text2wave", "-eval", f"(voice_{name})", "-F", str(SAMPLE_RATE), "-o", file.name]
            subprocess.run(command, input=text.encode(), check=True, capture_output=True)
            rate, samples = wavfile.read(file.name)
        if rate != SAMPLE_RATE:
            raise ValueError(f"festival voice {name}: {rate} Hz, wanted {SAMPLE_RATE}")
        return samples.astype(np.float32) / 32768

    return lambda _: speak


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
            start = sum(map(len, samples))
            samples.append(speech)
            window.texts.append(text)
            window.bounds_s.append(((start + LEAD) / SAMPLE_RATE, (start + len(speech) - TAIL) / SAMPLE_RATE))
            samples.append(np.zeros(int(rng.uniform(0.25, 0.9) * SAMPLE_RATE), np.float32))
        window.samples = np.concatenate(samples)[: 30 * SAMPLE_RATE]
        at += len(window.texts)
        made.append(window)
    return made


def with_noise(window: Window, seed: int, snr_db: float) -> Window:
    x = window.samples
    noise = coloured_noise(len(x) + len(x) % 2, np.random.default_rng(seed))[: len(x)]
    scale = np.sqrt((x[x != 0] ** 2).mean() / (noise**2).mean() / 10 ** (snr_db / 10))
    return replace(window, samples=(x + scale * noise).astype(np.float32))


def with_mp3(window: Window, bit_rate: int) -> Window:
    return replace(window, samples=through_codec(window.samples, "mp3", "libmp3lame", bit_rate))


def with_gain(window: Window, seed: int) -> Window:
    gain = 10 ** (random.Random(seed).uniform(-26, 3) / 20)
    return replace(window, samples=np.clip(window.samples * gain, -1, 1))


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


def heard(result: whisper.DecodingResult) -> tuple[str, list[tuple[float, float]]]:
    """-> text, start and end of its segments in seconds."""
    marked = TOKENIZER.decode_with_timestamps(result.tokens)
    times = [float(t) for t in re.findall(r"<\|(\d+\.\d+)\|>", marked)]
    return re.sub(r"<\|[^|]*\|>", " ", marked), list(zip(times[::2], times[1::2], strict=False))


def as_written(text: str) -> list[str]:
    """Words with their capitals and punctuation."""
    return text.replace("-", " ").split()


def measure(model: whisper.Whisper, made: list[Window], quick: bool, show: int) -> dict[str, float]:
    """Word error rates, without and with capitals and punctuation; median absolute error of segment boundaries.

    Boundaries are compared in windows that got the right number of segments; their share is reported.
    """
    wrong = wrong_written = words = matched = 0
    errors: list[float] = []
    for window, result in zip(made, decode(model, made, quick), strict=True):
        said, (text, bounds) = " ".join(window.texts), heard(result)
        wrong += word_errors(plain(said), plain(text))
        wrong_written += word_errors(as_written(said), as_written(text))
        words += len(plain(said))
        if len(bounds) == len(window.bounds_s):
            matched += 1
            errors += np.abs(np.array(bounds) - np.array(window.bounds_s)).ravel().tolist()
        if (show := show - 1) >= 0:
            print(f"    said  {' | '.join(window.texts)}\n    heard {TOKENIZER.decode_with_timestamps(result.tokens)}")
    return {
        "wer": wrong / words,
        "wer_written": wrong_written / words,
        "boundary_error_s": float(np.median(errors)) if errors else float("nan"),
        "segments_right": matched / len(made),
        "windows": len(made),
        "words": words,
    }


def no_speech_windows(count: int) -> list[tuple[str, Window]]:
    """Windows of 2 to 6 s without speech, the kinds in turn, one in twenty digital silence; seeds of their own."""
    rng = np.random.default_rng([77, 2026])
    kinds = [kind.__name__ for kind in KINDS]
    made = []
    for i in range(count):
        seconds, kind = rng.uniform(2, 6), kinds[i % len(kinds)]
        x = np.zeros(int(seconds * SAMPLE_RATE), np.float32) if i % 20 == 0 else sound(seconds, rng, kind)[1]
        made.append(("digital silence" if i % 20 == 0 else kind, Window(x, [])))
    return made


def measure_silence(model: whisper.Whisper, quick: bool, count: int) -> dict[str, float]:
    """Share of windows without speech that get text, before and after openai-whisper's no-speech gate (0.6, -1)."""
    made = no_speech_windows(count)
    results = decode(model, [window for _, window in made], quick)
    wrote = [bool(plain(heard(r)[0])) for r in results]
    kept = [w and not (r.no_speech_prob > 0.6 and r.avg_logprob < -1) for w, r in zip(wrote, results, strict=True)]
    by_kind = Counter(kind for (kind, _), w in zip(made, wrote, strict=True) if w)
    print(f"    text in: {dict(by_kind)}")
    return {
        "hallucinated": float(np.mean(wrote)),
        "hallucinated_past_the_gate": float(np.mean(kept)),
        "no_speech_over_0.6": float(np.mean([r.no_speech_prob > 0.6 for r in results])),
        "windows": len(made),
    }


def conditions(count: int) -> dict[str, Callable[[], list[Window]]]:
    texts = held_out()[:count]
    shuffled = random.Random(3).sample(texts, len(texts))
    known, unseen = espeak_speaker(VARIANTS), espeak_speaker(HELD_OUT_VARIANTS)
    flite = flite_speaker()
    return {
        "unseen voices": lambda: windows(unseen, texts, 1, 30, 1),
        "unseen, 10 dB": lambda: [with_noise(w, i, 10) for i, w in enumerate(windows(unseen, texts, 1, 30, 2))],
        "unseen, MP3 32k": lambda: [with_mp3(w, 32_000) for w in windows(unseen, texts, 1, 30, 3)],
        "festival kdl": lambda: windows(festival_speaker("ked_diphone"), texts, 1, 30, 4),
        "festival slt HTS": lambda: windows(festival_speaker("cmu_us_slt_arctic_hts"), texts, 1, 30, 5),
        "known voices": lambda: windows(known, texts, 1, 30, 6),
        "flite": lambda: windows(flite, texts, 1, 30, 7),
        "gain": lambda: [with_gain(w, i) for i, w in enumerate(windows(unseen, texts, 1, 30, 8))],
        "several, 6 s": lambda: windows(unseen, shuffled, 3, 6, 9),
        "several, 12 s": lambda: windows(unseen, shuffled, 3, 12, 10),
        "long, 29 s": lambda: windows(unseen, shuffled, 9, 29, 11),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--count", type=int, default=120, help="sentences of heldout.txt to speak")
    parser.add_argument("--only", default="", help="comma-separated beginnings of condition names")
    parser.add_argument("--show", type=int, default=0, help="transcripts to print a condition")
    parser.add_argument("--silence", type=int, default=500, help="windows without speech, 0 for none")
    parser.add_argument("--quick", action="store_true", help="encoder in bfloat16: faster, not what the table reports")
    parser.add_argument("--json", type=Path, help="write the results here too")
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    model = from_path(o.weights).eval().to("cuda" if torch.cuda.is_available() else "cpu")
    results = {}
    for name, make in conditions(o.count).items():
        if not o.only or any(name.startswith(part) for part in o.only.split(",")):
            begun = time.time()
            r = results[name] = measure(model, made := make(), o.quick, o.show)
            print(
                f"{name:17} WER {r['wer']:.3f}  as written {r['wer_written']:.3f}  boundaries "
                f"{r['boundary_error_s']:.3f} s  right segments {r['segments_right']:.2f}  "
                f"({len(made)} windows, {r['words']} words, {time.time() - begun:.0f} s)",
                flush=True,
            )
    if o.silence:
        r = results["no speech"] = measure_silence(model, o.quick, o.silence)
        print("no speech        ", "  ".join(f"{k} {v:.2f}" for k, v in r.items()))
    if o.json:
        o.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
