"""The chain of stages as a picture: layers in running order, wires between them.

A wire to the next layer goes straight there. A source that is needed further on gets a lane beside
the nodes, like a track beside stations: the lane passes by, and curves off where it is needed.
Straight crossings are not connected. Coordinates are (main, cross): main runs with the layers.
"""

from dataclasses import dataclass

from markupsafe import Markup

from align.report.read import StageRun

GAP, ROW_GAP, LANE, MARGIN, RADIUS = 25.0, 16.0, 11.0, 4.0, 5.0
Point = tuple[float, float]


@dataclass(frozen=True)
class Label:
    """What a node says below its name."""

    kind: str
    time: str
    headline: str


@dataclass(frozen=True)
class Layout:
    """Where nodes and wires lie: `wires` go to the next layer, `tracks` further (polylines)."""

    boxes: dict[str, Point]
    wires: list[list[Point]]
    tracks: list[list[Point]]
    arrows: list[Point]
    extent: Point


def layer_of(stages: list[StageRun]) -> dict[str, int]:
    """Longest way from a stage without inputs; every input lies in an earlier layer."""
    layers: dict[str, int] = {}
    for stage in stages:
        layers[stage.name] = 1 + max((layers[i] for i in stage.inputs), default=-1)
    return layers


def _places(stages: list[StageRun]) -> dict[str, tuple[int, int]]:
    """(layer, row) of each stage; rows of a layer follow the rows of what feeds them."""
    layers = layer_of(stages)
    places: dict[str, tuple[int, int]] = {}
    for layer in range(1 + max(layers.values(), default=-1)):
        here = [s for s in stages if layers[s.name] == layer]

        def mean_row(stage: StageRun, layer: int = layer) -> float:
            rows = [places[i][1] for i in stage.inputs if layers[i] == layer - 1]
            return sum(rows) / len(rows) if rows else 0.0

        for row, stage in enumerate(sorted(here, key=mean_row)):
            places[stage.name] = (layer, row)
    return places


def arrange(stages: list[StageRun], node: Point) -> Layout:
    """Lay the stages out for nodes of size `node` (along main, along cross)."""
    places = _places(stages)
    rows = 1 + max((row for _, row in places.values()), default=0)
    gap = GAP + 4 * (rows - 1)
    boxes = {
        name: (MARGIN + layer * (node[0] + gap), MARGIN + row * (node[1] + ROW_GAP))
        for name, (layer, row) in places.items()
    }
    users = {s.name: [t.name for t in stages if s.name in t.inputs] for s in stages}
    far = [s.name for s in stages if _far_users(s.name, users, places)]
    below = MARGIN + rows * (node[1] + ROW_GAP) - ROW_GAP + LANE + 3
    lanes = {name: below + i * LANE for i, name in enumerate(reversed(far))}

    def riser(target: str) -> float:
        return boxes[target][0] - 10 - 4 * places[target][1]

    def middle(name: str) -> float:
        return boxes[name][1] + node[1] / 2

    wires: list[list[Point]] = []
    tracks: list[list[Point]] = []
    for name, lane in lanes.items():
        out = boxes[name][0] + node[0]
        down = out + 6 + 4 * places[name][1]
        end = max(riser(t) for t in _far_users(name, users, places)) - 2 * RADIUS
        tracks.append([(out, middle(name)), (down, middle(name)), (down, lane), (end, lane)])
    for stage in stages:
        target, turn = stage.name, riser(stage.name)
        arrive = [(turn, middle(target)), (boxes[target][0] - 3, middle(target))]
        for source in dict.fromkeys(stage.inputs):
            if places[target][0] == places[source][0] + 1:
                start = (boxes[source][0] + node[0], middle(source))
                wires.append([start, (turn, start[1]), *arrive])
            else:
                start = (turn - 2 * RADIUS, lanes[source])
                tracks.append([start, (turn, start[1]), *arrive])
    arrows = [(boxes[s.name][0], middle(s.name)) for s in stages if s.inputs]
    layers = 1 + max((layer for layer, _ in places.values()), default=0)
    main = 2 * MARGIN + layers * (node[0] + gap) - gap
    cross = max([below - LANE, *lanes.values()]) + MARGIN
    return Layout(boxes, wires, tracks, arrows, (main, cross))


def _far_users(
    name: str, users: dict[str, list[str]], places: dict[str, tuple[int, int]]
) -> list[str]:
    return [t for t in users[name] if places[t][0] > places[name][0] + 1]


def draw(stages: list[StageRun], labels: dict[str, Label], *, vertical: bool) -> Markup:
    """The picture as inline SVG: layers left to right, or top to bottom for narrow screens."""
    # Where it is narrow the nodes are wide enough for the kind and the time in one line.
    width, height = (134.0, 70.0) if vertical else (104.0, 88.0)
    layout = arrange(stages, (height, width) if vertical else (width, height))

    def turned(point: Point) -> Point:
        return (point[1], point[0]) if vertical else point

    wide, high = turned(layout.extent)
    paths = [
        Markup('<path class="{}" d="{}"/>').format(kind, _rounded([*map(turned, points)]))
        for kind, lines in (("track", layout.tracks), ("wire", layout.wires))
        for points in lines
    ]
    arrows = [_arrow(turned(a), vertical) for a in layout.arrows]
    nodes = [
        _node(s, labels[s.name], turned(layout.boxes[s.name]), (width, height), vertical)
        for s in stages
    ]
    kind = "down" if vertical else "across"
    return Markup(
        '<svg class="chain {kind}" viewBox="0 0 {w:g} {h:g}" width="{w:g}" height="{h:g}" '
        'role="img" aria-labelledby="chain-{kind}"><title id="chain-{kind}">{title}</title>'
        '<g class="wires">{wires}</g><g class="arrows">{arrows}</g>{nodes}</svg>'
    ).format(
        kind=kind,
        w=wide,
        h=high,
        title=_in_words(stages),
        wires=Markup().join(paths),
        arrows=Markup().join(arrows),
        nodes=Markup().join(nodes),
    )


def _in_words(stages: list[StageRun]) -> str:
    parts = [f"{s.name} from {', '.join(s.inputs)}" if s.inputs else s.name for s in stages]
    return "The chain of stages: " + "; ".join(parts)


def _rounded(points: list[Point]) -> str:
    """An SVG path through right-angled `points` with round corners."""
    path = [f"M{points[0][0]:g} {points[0][1]:g}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        enter, leave = _towards(corner, before), _towards(corner, after)
        path.append(f"L{enter[0]:g} {enter[1]:g}Q{corner[0]:g} {corner[1]:g}")
        path.append(f"{leave[0]:g} {leave[1]:g}")
    path.append(f"L{points[-1][0]:g} {points[-1][1]:g}")
    return " ".join(path)


def _towards(corner: Point, other: Point) -> Point:
    """The point at most one radius from `corner` on the way to `other`."""
    across, along = other[0] - corner[0], other[1] - corner[1]
    length = abs(across) + abs(along)
    share = min(RADIUS, length / 2) / length if length else 0.0
    return (corner[0] + across * share, corner[1] + along * share)


def _arrow(tip: Point, vertical: bool) -> Markup:
    (x, y), back, half = tip, 6.0, 3.2
    sides = [(x - half, y - back), (x + half, y - back)]
    if not vertical:
        sides = [(x - back, y - half), (x - back, y + half)]
    points = " ".join(f"{a:g},{b:g}" for a, b in [(x - 0.5, y), *sides])
    return Markup('<polygon points="{}"/>').format(points)


def _node(stage: StageRun, label: Label, corner: Point, box: Point, one_line: bool) -> Markup:
    state, mark = mark_of(stage)
    details = (
        [" · ".join(filter(None, (label.kind, label.time)))]
        if one_line
        else [
            label.kind,
            label.time,
        ]
    )
    lines = [("kind", text) for text in details] + [("headline", label.headline)]
    x, y = corner
    texts = [
        Markup('<text class="{}" x="{:g}" y="{:g}">{}</text>').format(kind, x + 10, y + down, text)
        for (kind, text), down in zip(lines, (40, 59) if one_line else (38, 54, 75), strict=True)
    ]
    return Markup(
        '<a href="#stage-{name}" class="node {state}"><title>{name}: {about}</title>'
        '<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="8"/>'
        '<text class="name" x="{tx:g}" y="{ty:g}">{short}</text>'
        '<text class="mark" x="{mx:g}" y="{ty:g}">{mark}</text>{texts}</a>'
    ).format(
        name=stage.name,
        about=", ".join(filter(None, (label.kind, state, label.time, label.headline))),
        state=state,
        short=_fit(stage.name, int(box[0] / 8.6)),
        mark=mark,
        texts=Markup().join(texts),
        x=x,
        y=y,
        w=box[0],
        h=box[1],
        tx=x + 10,
        mx=x + box[0] - 9,
        ty=y + 21,
    )


def mark_of(stage: StageRun) -> tuple[str, str]:
    """The stage's state in a word that is also its CSS class, and its mark."""
    if stage.is_done:
        return "done", "✓"
    marks = {"failed": "✗", "running": "▸", "pending": "…"}
    return stage.state, marks[stage.state]


def _fit(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
