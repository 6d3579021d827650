"""One series as a line chart in inline SVG."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from align.report.numbers import number, percent

WIDTH, HEIGHT = 340.0, 168.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 10.0, 12.0, 34.0
MAX_POINTS = 400  # more than a small chart can show
SMOOTH_FROM = 30  # points from which a running mean says more than the points
Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Points (step, value) of one logged number. A share lies in 0..1 and is shown as percent."""

    name: str
    label: str
    points: list[Point]
    is_share: bool = False

    def text(self, value: float) -> str:
        return percent(value) if self.is_share else number(value)

    @property
    def summary(self) -> str:
        """Smallest and largest value with their steps."""
        low = min(self.points, key=lambda p: p[1])
        high = max(self.points, key=lambda p: p[1])
        return (
            f"min {self.text(low[1])} at step {number(low[0])}, "
            f"max {self.text(high[1])} at step {number(high[0])}"
        )


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most `most` round numbers (steps of 1, 2 or 5 times a power of ten) in `low`..`high`."""
    if high <= low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power, 2 * power, 5 * power, 10 * power):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [round(i * step, 12) for i in range(first, last + 1)]


def running_mean(points: list[Point], window: int) -> list[Point]:
    """Mean over the `window` points around each; fewer at the ends, so that none is lost."""
    half, values = window // 2, [v for _, v in points]
    smooth = []
    for i, (step, _) in enumerate(points):
        near = values[max(0, i - half) : i + half + 1]
        smooth.append((step, sum(near) / len(near)))
    return smooth


def thinned(points: list[Point], most: int) -> list[Point]:
    """At most about `most` points: means of equal runs of neighbours, at the run's last step."""
    if len(points) <= most:
        return points
    width = -(-len(points) // most)
    runs = [points[i : i + width] for i in range(0, len(points), width)]
    return [(run[-1][0], sum(v for _, v in run) / len(run)) for run in runs]


def draw(series: Series) -> Markup:
    """The chart. Long series have their points faint below a running mean."""
    steps, values = [s for s, _ in series.points], [v for _, v in series.points]
    low, high = _range(values, series.is_share)
    x = _scale(min(steps), max(steps), LEFT, WIDTH - RIGHT)
    y = _scale(low, high, HEIGHT - BOTTOM, TOP)
    grid = [_gridline(series, t, y(t)) for t in ticks(low, high)]
    shown = thinned(series.points, MAX_POINTS)
    is_long = len(shown) >= SMOOTH_FROM
    lines = [_line(shown, x, y, "raw" if is_long else "line")]
    if is_long:
        smooth = running_mean(shown, max(5, len(shown) // 12))
        lines.append(_line(smooth, x, y, "line"))
    if len(shown) == 1:
        dot = Markup('<circle class="dot" cx="{:g}" cy="{:g}" r="3"/>')
        lines.append(dot.format(x(steps[0]), y(values[0])))
    base = HEIGHT - BOTTOM
    return Markup(
        '<svg class="chart" viewBox="0 0 {w:g} {h:g}" role="img">'
        "<title>{title}</title>{grid}{lines}"
        '<text class="tick" x="{left:g}" y="{ty:g}">{first}</text>'
        '<text class="tick end" x="{right:g}" y="{ty:g}">{last}</text>'
        '<text class="axis" x="{mid:g}" y="{ty:g}">step</text></svg>'
    ).format(
        w=WIDTH,
        h=HEIGHT,
        title=f"{series.label} by step: {series.summary}",
        grid=Markup().join(grid),
        lines=Markup().join(lines),
        left=LEFT,
        right=WIDTH - RIGHT,
        mid=(LEFT + WIDTH - RIGHT) / 2,
        ty=base + 20,
        first=number(min(steps)),
        last=number(max(steps)) if len(steps) > 1 else "",
    )


def _range(values: list[float], is_share: bool) -> Point:
    """The axis: 0..1 for a share, else the values with a little air."""
    low, high = min(values), max(values)
    if is_share and low >= 0 and high <= 1:
        return 0.0, 1.0
    air = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return (0.0 if 0 <= low < (high - low) * 0.4 else low - air), high + air


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: round(start + (value - low) / span * (end - start), 2)


def _gridline(series: Series, value: float, y: float) -> Markup:
    text = percent(value, 0) if series.is_share else number(value)
    return Markup(
        '<line class="grid" x1="{a:g}" x2="{b:g}" y1="{y:g}" y2="{y:g}"/>'
        '<text class="tick end" x="{t:g}" y="{ty:g}">{text}</text>'
    ).format(a=LEFT, b=WIDTH - RIGHT, y=y, t=LEFT - 6, ty=y + 4, text=text)


def _line(
    points: list[Point], x: Callable[[float], float], y: Callable[[float], float], kind: str
) -> Markup:
    path = " ".join(f"{x(step):g},{y(value):g}" for step, value in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, path)
