"""One call of each kind, blocking. Under gevent, blocking is a switch to another user."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from aircheck.load.audio import Recordings
from aircheck.load.calls import Call
from aircheck.load.errors import LoadError
from aircheck.load.workload import Arrival, Kind, Workload
from aircheck_client import AircheckClient, AircheckError, Pcm, Retry, Tls
from preprocessing.decoding import SAMPLE_RATE_HZ

TOKEN_VARIABLE = "AIRCHECK_TOKEN"  # never an option: command lines are for all to see
_PIECE_S = 0.1  # of live audio
_ONCE = Retry(attempts=1)  # a refusal is a figure, and a retry would hide it


def connect(url: str, workload: Workload) -> AircheckClient:
    """A client without retries, with TLS and the environment's token where there are such.

    Raises LoadError for a certificate that cannot be read, or a token that would cross a network in clear.
    """
    tls: Tls | bool = Tls(ca=Path(workload.tls)) if workload.tls not in ("", "system") else bool(workload.tls)
    try:
        token = os.environ.get(TOKEN_VARIABLE)
        return AircheckClient(url, timeout_s=workload.timeout_s, retry=_ONCE, tls=tls, token=token)
    except (OSError, ValueError) as error:
        raise LoadError(f"{url}: {error}") from None


@dataclass(frozen=True)
class Outcome:
    """Of a call that was answered; times on the clock of time.monotonic."""

    received_bytes: int
    first_s: float | None = None
    delays_s: tuple[float, ...] = field(default=())


class Senders:
    """A user's connection. Close it."""

    def __init__(self, url: str, workload: Workload, recordings: Recordings):
        self._client = connect(url, workload)
        self._workload, self._recordings = workload, recordings
        self._ensemble = EnsembleClient(workload.triton_url, workload.timeout_s) if workload.triton_url else None

    def close(self) -> None:
        self._client.close()
        if self._ensemble:
            self._ensemble.close()

    def send(self, arrival: Arrival, began_s: float) -> tuple[Call, Exception | None]:
        """Makes the call. `began_s`: when the load began, on the clock of time.monotonic."""
        prepared = {Kind.CLIP: self._clip, Kind.EPISODE: self._episode, Kind.LIVE: self._live, Kind.ENSEMBLE: self._raw}
        sent_bytes, act = prepared[arrival.kind](arrival)
        started_s = time.monotonic()
        outcome, fault = Outcome(0), None
        try:
            outcome = act()
        except Exception as error:  # any kind is a figure of the load
            fault = error
        ended_s = time.monotonic()
        call = Call(
            arrival.index,
            arrival.kind,
            arrival.at_s,
            started_s - began_s,
            ended_s - began_s,
            arrival.audio_s,
            sent_bytes,
            outcome.received_bytes,
            None if outcome.first_s is None else outcome.first_s - began_s,
            outcome.delays_s,
            "" if fault is None else type(fault).__name__,
        )
        return call, fault

    def _clip(self, arrival: Arrival) -> tuple[int, Callable[[], Outcome]]:
        wave = self._recordings.wave(arrival.index, arrival.audio_s)
        return len(wave), lambda: Outcome(len(self._client.scan_clip(wave).model_dump_json()))

    def _episode(self, arrival: Arrival) -> tuple[int, Callable[[], Outcome]]:
        wave = self._recordings.wave(arrival.index, arrival.audio_s)
        return len(wave), partial(self._stream, wave)

    def _stream(self, wave: bytes) -> Outcome:
        first_s, received = None, 0
        for verdict in self._client.stream(wave):
            first_s = first_s or time.monotonic()
            received += len(verdict.model_dump_json())
        return Outcome(received, first_s)

    def _live(self, arrival: Arrival) -> tuple[int, Callable[[], Outcome]]:
        pcm = self._recordings.pcm(arrival.index, arrival.audio_s)
        return len(pcm), partial(self._listen, pcm)

    def _listen(self, pcm: bytes) -> Outcome:
        speaking = _Speaking(pcm)
        delays_s, first_s, received = [], None, 0
        for verdict in self._client.listen(speaking.pieces(), pcm=Pcm(SAMPLE_RATE_HZ)):
            first_s = first_s or time.monotonic()
            received += len(verdict.model_dump_json())
            if verdict.scope == "window":
                delays_s.append(time.monotonic() - speaking.began_s - verdict.end_s)
        return Outcome(received, first_s, tuple(delays_s))

    def _raw(self, arrival: Arrival) -> tuple[int, Callable[[], Outcome]]:
        wave = self._recordings.wave(arrival.index, arrival.audio_s)
        if self._ensemble is None:
            raise AircheckError("no address of Triton; give --triton-url")
        return len(wave), partial(self._ensemble.infer, wave)


class _Speaking:
    """Raw samples, 16-bit, at the pace at which they are spoken."""

    def __init__(self, pcm: bytes):
        self._pcm = pcm
        self.began_s = 0.0

    def pieces(self) -> Iterator[bytes]:
        per_s = 2 * SAMPLE_RATE_HZ
        step = int(_PIECE_S * per_s)
        self.began_s = time.monotonic()
        for at in range(0, len(self._pcm), step):
            time.sleep(max(0.0, self.began_s + (at + step) / per_s - time.monotonic()))
            yield self._pcm[at : at + step]


class EnsembleClient:
    """Triton's ensemble, past the gateway."""

    def __init__(self, url: str, timeout_s: float):
        import tritonclient.grpc as triton

        self._triton, self._timeout_s = triton, timeout_s
        self._client = triton.InferenceServerClient(url)

    def infer(self, wave: bytes) -> Outcome:
        """Raises tritonclient's InferenceServerException."""
        import numpy as np

        audio = self._triton.InferInput("AUDIO", [1, len(wave)], "UINT8")
        audio.set_data_from_numpy(np.frombuffer(wave, np.uint8)[None])
        texts = [self._text("CONTEXT", "{}"), self._text("LANGUAGE", "")]
        asked = [self._triton.InferRequestedOutput("VERDICT")]
        answer = self._client.infer("audio_safety", [audio, *texts], outputs=asked, client_timeout=self._timeout_s)
        return Outcome(len(answer.as_numpy("VERDICT").ravel()[0]))

    def close(self) -> None:
        self._client.close()

    def _text(self, name: str, value: str) -> object:
        import numpy as np

        tensor = self._triton.InferInput(name, [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[value.encode()]], dtype=np.object_))
        return tensor
