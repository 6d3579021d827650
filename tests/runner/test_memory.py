"""A stage starts with what is alive, not with what earlier stages freed."""

import sys
from pathlib import Path

import numpy as np
import pytest

from align.runner import memory


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and needs glibc")
def test_freed_memory_goes_back_to_the_system_and_out_of_the_peak():
    pieces = [np.ones(100_000, dtype=np.uint8) for _ in range(3000)]
    last = pieces[-1]
    before = resident()
    del pieces
    memory.start_anew()
    assert before - resident() > 200e6
    assert memory.peak_bytes() < before - 200e6
    assert last.all()
