"""Windows cut into overlapping pieces of one fixed length, and the pieces' frames joined again.

Every piece has the same shape whatever the window's length: Whisper's attention sees all of its input, and a short clip
given fewer positions scores differently (46 points of recall on screams), so a short clip is one piece, padded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 5_120
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE  # 0.32 s between predictions
PIECE_FRAMES = 16
PIECE_SAMPLES = PIECE_FRAMES * FRAME_SAMPLES  # 5.12 s
OVERLAP_FRAMES = 2  # the frames at a piece's edges have heard only one side; their neighbours' are taken
HOP_SAMPLES = (PIECE_FRAMES - OVERLAP_FRAMES) * FRAME_SAMPLES


def frames_in(duration_s: float) -> int:
    """Predictions that begin before `duration_s`."""
    return math.ceil(round(duration_s / FRAME_S, 6))


def pieces_in(duration_s: float) -> int:
    """Pieces that cover `duration_s`; none for an empty window."""
    if duration_s <= 0:
        return 0
    return 1 + max(0, math.ceil(round((duration_s * SAMPLE_RATE - PIECE_SAMPLES) / HOP_SAMPLES, 6)))


def cut(waveform: NDArray[np.float32], duration_s: float) -> NDArray[np.float32]:
    """Pieces of a waveform, [pieces, PIECE_SAMPLES]; what follows its duration is silence in them."""
    count, end = pieces_in(duration_s), min(round(duration_s * SAMPLE_RATE), len(waveform))
    padded = np.zeros(max(0, count - 1) * HOP_SAMPLES + PIECE_SAMPLES, np.float32)
    padded[: min(end, len(padded))] = waveform[: min(end, len(padded))]
    return np.stack([padded[n * HOP_SAMPLES :][:PIECE_SAMPLES] for n in range(count)] or [padded])[:count]


def join(frames: Sequence[NDArray[np.float32]], duration_s: float) -> NDArray[np.float32]:
    """The pieces' predictions, each [PIECE_FRAMES, events], as those of their window: [frames_in(duration_s), events].

    Of two predictions for one frame, that of the piece in which it lies further from the edge is taken.
    """
    edge = OVERLAP_FRAMES // 2
    last = len(frames) - 1
    inner = [piece[edge if n else 0 : PIECE_FRAMES if n == last else -edge] for n, piece in enumerate(frames)]
    return np.concatenate(inner)[: frames_in(duration_s)]
