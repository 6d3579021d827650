"""The chain's layout and the charts' arithmetic."""

from itertools import pairwise

import pytest

from align.report.chain import Label, arrange, draw, layer_of
from align.report.chart import Series, running_mean, thinned, ticks
from align.report.chart import draw as draw_chart
from align.report.curves import chosen
from align.report.numbers import duration, measured, number, percent, signed, size
from align.report.read import StageRun

CHAIN = {
    "corpus": [],
    "base": ["corpus"],
    "math": ["base", "corpus"],
    "code": ["base"],
    "sft": ["base", "math", "code"],
    "scores": ["corpus", "base", "sft"],
}


def stages(graph=CHAIN, kind="sft", curve=()):
    return [StageRun(n, kind, i, "done", 1.0, None, curve=list(curve)) for n, i in graph.items()]


def test_every_input_lies_in_an_earlier_layer():
    layers = layer_of(stages())
    assert layers == {"corpus": 0, "base": 1, "math": 2, "code": 2, "sft": 3, "scores": 4}


def test_nodes_never_overlap_and_no_wire_runs_through_one():
    width, height = 104.0, 88.0
    layout = arrange(stages(), (width, height))
    boxes = list(layout.boxes.values())
    for i, (x, y) in enumerate(boxes):
        for u, v in boxes[i + 1 :]:
            assert abs(x - u) >= width or abs(y - v) >= height
    for points in layout.wires + layout.tracks:
        for (a, b), (c, d) in pairwise(points):
            assert a == c or b == d, "wires turn at right angles"
            for x, y in boxes:
                beside = max(a, c) <= x or min(a, c) >= x + width
                assert beside or max(b, d) <= y or min(b, d) >= y + height


def test_each_input_arrives_at_its_stage_once():
    layout = arrange(stages(), (104.0, 88.0))
    arriving = [w[-1] for w in layout.wires] + [t[-1] for t in layout.tracks]
    for stage in stages():
        x, y = layout.boxes[stage.name]
        assert arriving.count((x - 3, y + 44.0)) == len(stage.inputs)
    assert len(layout.arrows) == 5  # all but the corpus


@pytest.mark.parametrize("vertical", [False, True])
def test_picture_names_every_stage_and_what_feeds_it(vertical):
    labels = {name: Label("sft", "1 s", "loss < 1") for name in CHAIN}
    svg = draw(stages(), labels, vertical=vertical)
    assert "sft from base, math, code" in svg and "loss &lt; 1" in svg
    assert svg.count("<rect") == len(CHAIN)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.5, 1.0]), (0.28, 0.66, [0.3, 0.4, 0.5, 0.6]), (3, 3, [3])],
)
def test_ticks_are_round_and_inside(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_running_mean_keeps_a_line_and_every_point():
    line = [(s, 2.0 * s) for s in range(20)]
    assert running_mean(line, 5)[3:17] == line[3:17]
    assert len(running_mean(line, 5)) == 20


def test_thinning_keeps_the_mean_and_the_last_step():
    points = [(s, float(s % 7)) for s in range(1, 2101)]
    thin = thinned(points, 400)
    assert len(thin) <= 400 and thin[-1][0] == 2100
    assert sum(v for _, v in thin) / len(thin) == pytest.approx(3.0)


def test_extremes_are_of_the_logged_points_not_of_the_thinned():
    points = [(s, 1.0) for s in range(1, 2001)]
    points[776] = (777, 9.0)
    assert "max 9 at step 777" in Series("loss", "loss", points).summary


def test_flat_and_single_point_series_draw():
    assert "<polyline" in draw_chart(Series("a", "a", [(1, 0.0), (2, 0.0)]))
    assert "<circle" in draw_chart(Series("a", "a", [(1, 5.0)]))


def test_grpo_shows_reward_by_function_and_not_the_learning_rate():
    point = {"step": 1, "learning_rate": 1e-4, "rewards/rm/mean": 0.1, "rewards/rm/std": 1.0,
             "rewards/math/mean": 0.4, "reward": 0.5, "completions/mean_length": 60}  # fmt: skip
    (stage,) = stages({"g": []}, kind="grpo", curve=[point])
    names = [series.name for series in chosen(stage)]
    assert names == ["reward", "rewards/rm/mean", "rewards/math/mean", "completions/mean_length"]


def test_unknown_stage_kind_shows_what_it_logged():
    (stage,) = stages({"g": []}, kind="new", curve=[{"step": 1, "epoch": 0.1, "zeal": 2.0}])
    assert [series.name for series in chosen(stage)] == ["zeal"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (number(51200), "51,200"),
        (number(-0.0095), "−0.0095"),
        (number(7e-6), "7e-06"),
        (measured(12.5), "12.50"),
        (percent(0.4125), "41.2 %"),
        (signed(-0.2), "±0"),
        (signed(46.9), "+47"),
        (duration(0.84), "0.8 s"),
        (duration(59.7), "1 min 00 s"),
        (duration(3599.7), "1 h 00 min"),
        (size(3 * 2**29), "1.50 GiB"),
    ],
)
def test_numbers_read_well(found, expected):
    assert found.replace("\u202f", " ") == expected
