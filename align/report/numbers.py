"""Numbers as a person reads them."""

import math
from datetime import datetime

THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"


def number(value: float | None) -> str:
    """Four significant digits, thousands grouped: 0.4213, 12.35, 51,200, 7e-06."""
    if value is None:
        return NOTHING
    if value == int(value) and abs(value) < 1e15:
        text = f"{int(value):,}"
    elif abs(value) >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.4g}"
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


def measured(value: float) -> str:
    """Four significant digits with their zeros, so that a value and its interval line up."""
    digits = max(0, 3 - math.floor(math.log10(abs(value)))) if value else 1
    return f"{value:,.{digits}f}".replace("-", MINUS)


def percent(share: float | None, digits: int = 1) -> str:
    """A fraction 0..1 as a percentage."""
    return NOTHING if share is None else f"{100 * share:.{digits}f}{THIN}%"


def signed(value: float, digits: int = 0) -> str:
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return f"±{text}"
    return f"{'+' if value > 0 else MINUS}{text}"


def duration(seconds: float | None) -> str:
    """0.8 s, 41 s, 6 min 12 s, 3 h 05 min."""
    if seconds is None:
        return NOTHING
    if seconds < 9.95:
        return f"{seconds:.1f}{THIN}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{THIN}s"
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60:02d}{THIN}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60}{THIN}h {minutes % 60:02d}{THIN}min"


def size(count: float | None) -> str:
    """Bytes in binary units."""
    if count is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f}{THIN}{unit}"
        count /= 1024
    return f"{count:.2f}{THIN}GiB"


def moment(iso: str | None) -> str:
    """An ISO time as 2026-11-20 19:30 UTC; a text that is no time stays what it is."""
    if not iso:
        return NOTHING
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = when.strftime(" %Z") if when.tzinfo else ""
    return when.strftime("%Y-%m-%d %H:%M") + zone
