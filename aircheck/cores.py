"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota: Path = _QUOTA) -> int:
    """Cores that it may run on, within the control group's bandwidth limit; at least one.

    A container's CPU limit hides no core, it stops the process for a part of the time: threads on all of them would
    wait for one another (https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu).
    """
    cores = len(os.sched_getaffinity(0))
    try:
        limit_us, period_us = quota.read_text().split()
        return max(1, min(cores, math.ceil(int(limit_us) / int(period_us))))
    except (OSError, ValueError):  # no control group of version 2 is mounted there, or the limit is "max"
        return cores
