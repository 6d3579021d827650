"""Peak memory of a stretch of work in this process."""

import resource
import sys
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Start a new stretch. Where the system cannot, the peak stays the process's own."""
    if CLEAR.exists():
        CLEAR.write_text("5")  # Linux: resets the resident set's high-water mark


def peak_bytes() -> int:
    """Largest resident set since `reset_peak`, bytes (where supported, else of the process)."""
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, the others KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
