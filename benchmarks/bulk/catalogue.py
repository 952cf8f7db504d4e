"""Catalogues to scan: short clips of the sample episode, each a file of its own."""

from __future__ import annotations

import itertools
import socket
import wave
from io import BytesIO
from pathlib import Path

from aircheck.settings import ROOT
from benchmarks.clips import sample_clips

EPISODE = ROOT / "samples" / "episode.mp3"
RATE_HZ = 16_000


def spoken_clips(folder: Path, count: int, max_s: float = 3.0) -> list[Path]:
    """`count` WAVE files of speech; no two have the same bytes, for the last sample of each is its number."""
    folder.mkdir(parents=True, exist_ok=True)
    windows = itertools.cycle(sample_clips(EPISODE, max_s))
    return [_numbered(window, number, folder) for number, window in zip(range(count), windows, strict=False)]


def quiet_clips(folder: Path, count: int, length_s: float = 0.5) -> list[Path]:
    """The same of silence, which costs the models little: what is left is the cost of an item."""
    folder.mkdir(parents=True, exist_ok=True)
    file = BytesIO()
    with wave.open(file, "wb") as made:
        made.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        made.writeframes(bytes(2 * int(RATE_HZ * length_s)))
    return [_numbered(file.getvalue(), number, folder) for number in range(count)]


def free_port() -> int:
    """One that nobody listens on now; a server that is started again keeps it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _numbered(window: bytes, number: int, folder: Path) -> Path:
    """The clip with its number in its last two samples, which nobody hears."""
    path = folder / f"{number:06}.wav"
    path.write_bytes(window[:-4] + (number % 2**12).to_bytes(2, "little") + (number // 2**12).to_bytes(2, "little"))
    return path
