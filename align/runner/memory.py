"""Memory of a stretch of work in this process: what it starts with, and its peak."""

import ctypes
import gc
import resource
import sys
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def start_anew() -> None:
    """Give what earlier work has freed back to the system, and count the peak from here.

    glibc keeps freed memory that a live object lies above: a chain of stages would hold what each
    of them once needed. Where the system can't, the peak stays the process's own.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc alone has it
        trim(0)
    if CLEAR.exists():
        CLEAR.write_text("5")  # Linux: resets the resident set's high-water mark


def peak_bytes() -> int:
    """Largest resident set since `start_anew`, bytes (where supported, else of the process)."""
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, the others KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
