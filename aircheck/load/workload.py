"""All options of a load, and the arrivals that follow from them: the same options and seed, the same arrivals."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aircheck.load.errors import LoadError
from aircheck.load.lengths import Lengths
from aircheck.load.shapes import MAX_CALLS, parse_shape, poisson_times_s
from aircheck_client.connection import is_loopback

MAX_S = 12 * 3600.0
MAX_USERS = 1000


class Kind(StrEnum):
    """Who calls."""

    CLIP = "clip"  # ingestion: ScanClip
    EPISODE = "episode"  # Scan, verdicts while it is uploaded
    LIVE = "live"  # Listen, at the pace at which people talk
    ENSEMBLE = "ensemble"  # Triton's ensemble by tritonclient, past the gateway


LONGEST_S: Mapping[Kind, float] = {Kind.CLIP: 30.0, Kind.EPISODE: 4 * 3600.0, Kind.LIVE: 3600.0, Kind.ENSEMBLE: 30.0}


@dataclass(frozen=True)
class Arrival:
    """A call that is to be made.

    at_s : from the start of the load
    """

    index: int
    at_s: float
    kind: Kind
    audio_s: float


class Workload(BaseModel):
    """A load, bounded in time and count. The descriptions are Locust's help."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    loop: Literal["open", "closed"] = Field(
        "open", description="open: calls come by the clock; closed: each user calls again when it was answered."
    )
    rate: float = Field(0.5, gt=0, le=10_000, description="Open loop: calls a second on average, Poisson.")
    shape: str = Field(
        "steady",
        description="steady (also to soak), step:0.5,1,2 (calls a second), spike:4@20+10 (4 times the rate from 20 s "
        "on for 10 s), replay:arrivals.csv (at_s,kind,audio_s).",
    )
    seconds: float = Field(60.0, gt=0, le=MAX_S, description="How long calls are begun; at most 12 hours.")
    mix: str = Field("clip=1", description="Weights of the users: clip=8,episode=1,live=1,ensemble=0.")
    lengths: str = Field(
        "uniform:5,30",
        description="Seconds of clips: 30, uniform:5,30, lognormal:12,0.6 (median, sigma), file:lengths.txt.",
    )
    episode_lengths: str = Field("300", description="The same of episodes.")
    live_lengths: str = Field("30", description="The same of live streams.")
    audio: str = Field("", description="A recording, or a folder of them, to cut from; default: the sample episode.")
    seed: int = Field(0, ge=0, description="Of arrivals, lengths and places; the same seed, the same load.")
    timeout_s: float = Field(120.0, gt=0, le=3600, description="Of each call.")
    triton_url: str = Field("", description="Address of Triton, for the ensemble; aircheck serve -v prints it.")
    metrics_url: str = Field("", description="The server's metrics, for the tab Audio: http://127.0.0.1:8002/metrics.")
    tls: str = Field("", description="TLS to the server: system, or a file of PEM roots. A token: AIRCHECK_TOKEN.")
    allow_host: str = Field("", description="Another machine that load may go to; else only loopback.")

    @classmethod
    def of(cls, options: Mapping[str, object]) -> Workload:
        """Raises LoadError, which names the option."""
        try:
            return cls.model_validate({name: options[name] for name in cls.model_fields if name in options})
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            option = "".join(f"--{part}: ".replace("_", "-") for part in fault["loc"])
            raise LoadError(option + fault["msg"].removeprefix("Value error, ")) from None

    @model_validator(mode="after")
    def _parsed(self) -> Workload:
        _ = self.weights, self.lengths_of
        if not self.shape.startswith("replay:"):
            parse_shape(self.shape, self.rate, self.seconds)
        if self.weights.get(Kind.ENSEMBLE) and not self.triton_url:
            raise LoadError("mix: ensemble wants --triton-url, the address of Triton; aircheck serve -v prints it")
        return self

    @cached_property
    def weights(self) -> dict[Kind, float]:
        """Of the kinds that call at all. Raises LoadError."""
        try:
            pairs = [part.split("=") for part in self.mix.split(",")]
            found = {Kind(name.strip()): float(weight) for name, weight in pairs}
        except ValueError:
            raise LoadError(f"mix {self.mix!r}: wants weights such as clip=8,episode=1 of {', '.join(Kind)}") from None
        if min(found.values()) < 0 or sum(found.values()) <= 0:
            raise LoadError(f"mix {self.mix!r}: no weight may be below 0, and one must be above")
        return {kind: weight for kind, weight in found.items() if weight}

    @cached_property
    def lengths_of(self) -> dict[Kind, Lengths]:
        """Raises LoadError."""
        clips = Lengths.parse(self.lengths, LONGEST_S[Kind.CLIP])
        return {
            Kind.CLIP: clips,
            Kind.ENSEMBLE: clips,
            Kind.EPISODE: Lengths.parse(self.episode_lengths, LONGEST_S[Kind.EPISODE]),
            Kind.LIVE: Lengths.parse(self.live_lengths, LONGEST_S[Kind.LIVE]),
        }

    def arrivals(self) -> tuple[Arrival, ...]:
        """Of an open loop, in order. Raises LoadError."""
        if self.shape.startswith("replay:"):
            return _replayed(Path(self.shape.removeprefix("replay:")), self.seconds)
        generator = np.random.default_rng(self.seed)
        times_s = poisson_times_s(parse_shape(self.shape, self.rate, self.seconds), generator)
        weights = np.array(list(self.weights.values()))
        kinds = generator.choice(list(self.weights), size=len(times_s), p=weights / weights.sum())
        return tuple(
            Arrival(index, float(at_s), Kind(kind), self.lengths_of[Kind(kind)].draw_s(generator))
            for index, (at_s, kind) in enumerate(zip(times_s, kinds, strict=True))
        )

    def next_call(self, index: int, kind: Kind, at_s: float) -> Arrival:
        """Call `index` of a closed loop."""
        return Arrival(index, at_s, kind, self.lengths_of[kind].draw_s(np.random.default_rng((self.seed, index))))

    def check_host(self, host: str) -> None:
        """Raises LoadError when load may not go there."""
        for one in filter(None, (*host.split(","), self.triton_url, _netloc(self.metrics_url))):
            if not (is_loopback(one) or one.startswith("unix:") or one.rsplit(":", 1)[0] == self.allow_host):
                raise LoadError(
                    f"{one} is not this machine: load goes to loopback alone; if it may be loaded, say so by "
                    f"--allow-host {one.rsplit(':', 1)[0]}"
                )


def _netloc(url: str) -> str:
    return url.split("://")[-1].split("/")[0]


def _replayed(path: Path, seconds: float) -> tuple[Arrival, ...]:
    try:
        with path.open(newline="") as file:
            rows = [
                (float(row["at_s"]), Kind(row.get("kind") or Kind.CLIP), float(row["audio_s"]))
                for row in csv.DictReader(file)
            ]
    except OSError as error:
        raise LoadError(f"shape replay: {path}: {error.strerror}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise LoadError(f"shape replay: {path}: wants columns at_s,kind,audio_s ({error!r})") from None
    if len(rows) > MAX_CALLS:
        raise LoadError(f"shape replay: {path}: {len(rows)} calls, at most {MAX_CALLS}; cut it")
    began = sorted(row for row in rows if 0 <= row[0] < seconds)
    return tuple(
        Arrival(index, at_s, kind, min(audio_s, LONGEST_S[kind])) for index, (at_s, kind, audio_s) in enumerate(began)
    )
