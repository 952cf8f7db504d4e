"""All that was measured of a machine, as JSON: what plans are made from later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from aircheck.capacity.errors import CapacityError
from aircheck.capacity.objective import Objective
from aircheck.capacity.steps import Step


class Agreement(BaseModel):
    """Locust's figures and the independent client's, of the same schedule; `ratio` is independent over Locust."""

    model_config = ConfigDict(frozen=True)

    load: float
    figure: str
    locust: float
    independent: float

    @property
    def ratio(self) -> float:
        return self.independent / self.locust if self.locust else float("inf")

    @property
    def agrees(self) -> bool:
        """Within 10 %."""
        return abs(self.ratio - 1) <= 0.1


class Checked(BaseModel):
    """A figure of the simulation beside the measured one."""

    model_config = ConfigDict(frozen=True)

    servers: int
    load: float
    figure: str
    measured: float
    simulated: float


class Knee(BaseModel):
    """Where it is and what makes it. Loads in audio seconds a second, that is audio hours a machine hour.

    load : the highest that kept the objective, mean of the last two passes
    saturated : the most that the closed loop took, whatever the latency
    stage : the model, or the gateway's part, that spends most at the knee; `stage_why` says of what
    """

    model_config = ConfigDict(frozen=True)

    load: float
    passes: tuple[float, ...]
    is_stable: bool
    saturated: float
    stage: str
    stage_why: str


class Profile(BaseModel):
    """Of one machine and one configuration.

    conditions : the machine, versions, settings, and the command
    in_flight : the most windows that the models were seen to have at a time
    """

    model_config = ConfigDict(frozen=True)

    version: int = 1
    conditions: dict[str, Any]
    objective: Objective
    lengths: str
    mean_clip_s: float
    in_flight: int
    knee: Knee
    closed: tuple[Step, ...]
    open: tuple[Step, ...]
    agreement: tuple[Agreement, ...]
    checked: tuple[Checked, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Profile:
        """Raises CapacityError."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise CapacityError(
                f"profile {path}: {error.strerror}; measure this machine by aircheck capacity, or name one by --profile"
            ) from None
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(map(str, fault["loc"]))
            raise CapacityError(f"profile {path}: {where}: {fault['msg']}; measure again") from None

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=1) + "\n")
