"""How many processor cores this process may use."""

import math
import os
from pathlib import Path

#: Where Linux tells a container how many microseconds of processor time it gets in each period.
CGROUP_SHARE = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """Return the cores that this process may use: those it may run on, and no more than its container's share."""
    able = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CGROUP_SHARE.read_text().split()
        return max(1, min(able, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such limits here, or "max"
        return able
