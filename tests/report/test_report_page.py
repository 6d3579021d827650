"""The page says what the run's files say, all of it, and nothing that came from a model runs."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from align.errors import AlignError
from align.report import ReportError, write

STAGES = {  # name: (kind, artifact, inputs)
    "corpus": ("corpus", "corpus", []),
    "base": ("pretrain", "model", ["corpus"]),
    "math": ("synth", "sft_data", ["base", "corpus"]),
    "grpo": ("grpo", "model", ["base", "math"]),
    "scores": ("evaluate", "scores", ["base", "grpo", "corpus"]),
}
HOSTILE = "4 < 5 & so</pre><script>alert(1)</script>\n#### 9"
VOID = {"meta", "br", "path", "rect", "line", "polyline", "polygon", "circle"}


class Page(HTMLParser):
    """Tags, attributes and the text of a page; fails on a tag that is closed out of order."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.tags, self.links, self.words = [], [], [], []
        self.pre: list[str] = []
        self.feed(html)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "pre":
            self.pre.append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)
        if "pre" in self.open:
            self.pre[-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split()).replace("\u202f", " ")


def make_run(folder: Path) -> Path:
    folder.mkdir()
    rows = []
    for name, (kind, artifact, inputs) in STAGES.items():
        rows.append({"name": name, "kind": kind, "inputs": inputs, "state": "done", "seconds": 61.0,
                     "error": None})  # fmt: skip
        (folder / name).mkdir()
        manifest = {
            "artifact": artifact, "config": {"kind": kind, "args": {"learning_rate": 7e-6}},
            "fingerprint": name * 16, "seed": 5, "metrics": {}, "wall_seconds": 61.0,
            "rows": {"kept": 3120, "dropped": {"wrong": 8904}} if name == "math" else {},
            "peak_memory_bytes": 3 * 2**29, "warnings": ["beware <b>" + name] * (name == "grpo"),
        }  # fmt: skip
        dump(folder / name / "manifest.json", manifest)
    curve = [{"step": s, "reward": 0.5 + s / 100, "frac_reward_zero_std": 0.25} for s in (1, 2, 40)]
    (folder / "grpo" / "metrics.jsonl").write_text("".join(json.dumps(p) + "\n" for p in curve))
    dump(folder / "scores" / "scores.json", scores())
    versions = {"trl": "1.16.0"}
    dump(folder / "run.json", {"name": "tiny", "recipe": "r.yaml", "seed": 17, "versions": versions,
                               "started": "2026-11-20T19:05:11+00:00", "finished": None,
                               "stages": rows})  # fmt: skip
    return folder


def scores() -> dict:
    def share(value, low, high):
        return {"accuracy": {"value": value, "low": low, "high": high, "n": 512}}

    def perplexity(value):
        return {"prose_perplexity": {"value": value, "low": value - 1, "high": value + 1, "n": 9}}

    answers = {"grpo": {"text": "9", "correct": True}, "base": {"text": HOSTILE, "correct": False}}
    return {
        "metrics": {"accuracy": {"unit": "%", "better": "higher"},
                    "prose_perplexity": {"unit": "", "better": "lower"}},
        "models": {"grpo": share(0.881, 0.853, 0.909) | perplexity(13.2),
                   "base": share(0.412, 0.369, 0.455) | perplexity(12.0)},
        "tasks": {"grpo": {"gcd": share(0.75, 0.5, 0.9)["accuracy"]}, "base": {}},
        "samples": [{"prompt": "\n  4 + 5?", "answer": "9", "answers": answers}],
    }  # fmt: skip


def dump(path: Path, value) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def change(path: Path, edit) -> None:
    value = json.loads(path.read_text())
    edit(value)
    dump(path, value)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "tiny")


def page_of(run: Path) -> Page:
    path = write(run)
    assert path == run / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_every_stage_has_a_node_and_a_section(run):
    html = write(run).read_text()
    for name in STAGES:
        assert html.count(f'<a href="#stage-{name}" class="node done">') == 2  # across and down
        assert html.count(f'id="stage-{name}"') == 1


def test_outcome_compares_first_and_last_model_in_running_order(run):
    text = page_of(run).text
    assert "base 41 % → grpo 88 %" in text
    assert "+47 points on 512 held-out problems" in text
    assert "Prose perplexity 12.00 → 13.20 (+10.0 %)" in text
    assert "overlap" not in text


def test_overlapping_intervals_are_said_to_overlap(run):
    def widen(s):
        s["models"]["base"]["accuracy"]["high"] = 0.86

    change(run / "scores" / "scores.json", widen)
    assert "the 95 % intervals overlap" in page_of(run).text


def test_values_are_shown_with_their_intervals(run):
    text = page_of(run).text
    for shown in ("88.1 %", "85.3 to 90.9", "36.9 to 45.5", "12.20 to 14.20", "50.0 to 90.0"):
        assert shown in text
    html = (run / "report.html").read_text()
    assert '<span class="whisker" style="left:85.3%;width:5.6%">' in html


def test_rows_time_memory_settings_and_warnings_are_shown(run):
    text = page_of(run).text
    for shown in ("3,120", "wrong 8,904", "1 min 01 s", "5 min 05 s", "1.50 GiB", "args.learning",
                  "7e-06", "beware <b>grpo", "basebasebase", "trl 1.16.0", "seed 17"):  # fmt: skip
        assert shown in text, shown


def test_curves_show_extremes_and_the_last_value(run):
    text = page_of(run).text
    assert "min 0.51 at step 1, max 0.9 at step 40" in text
    assert "groups without a signal 25.0 %" in text


def test_what_a_model_wrote_is_text_to_the_letter_and_never_markup(run):
    page = page_of(run)
    assert "script" not in page.tags
    assert page.pre[0].removeprefix("\n") == "\n  4 + 5?"
    assert HOSTILE in [text.removeprefix("\n") for text in page.pre]


def test_page_loads_nothing(run):
    page, html = page_of(run), (run / "report.html").read_text()
    assert page.links and all(link.startswith("#") for link in page.links)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert not re.search(r"https?://|url\(|@import", html)
    assert "default-src 'none'" in html


def test_every_picture_has_a_title_and_ids_are_unique(run):
    html = write(run).read_text()
    assert html.count("<svg") == len(re.findall(r"<svg[^>]*><title", html)) > 2
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_run_in_progress_says_what_is_pending(run):
    def interrupt(value):
        for row, state in zip(value["stages"][2:], ("failed", "pending", "pending"), strict=True):
            row |= {"state": state, "error": "row 3: <no> answer" if state == "failed" else None}

    change(run / "run.json", interrupt)
    for name in ("math", "scores"):
        shutil.rmtree(run / name)
    text = page_of(run).text
    assert "No scores yet" in text and "2 of 5" in text
    assert "math failed. row 3: <no> answer" in text
    assert "Not finished: math, grpo, scores. What is shown of grpo is of an earlier" in text


def test_results_of_an_older_recipe_do_not_pass_for_this_ones(run):
    assert "earlier state" not in page_of(run).text
    change(run / "run.json", lambda value: value["stages"][-1].update(state="pending"))
    assert "These scores are of an earlier state of the recipe" in page_of(run).text


def test_skipped_stages_count_as_done(run):
    def skip(value):
        for row in value["stages"]:
            row["state"] = "skipped"

    change(run / "run.json", skip)
    text = page_of(run).text
    assert "5 of 5" in text and "Not finished" not in text


def test_missing_optional_parts_and_nulls_are_tolerated(run):
    (run / "grpo" / "metrics.jsonl").write_text('{"step": 1, "reward": null, "kl": NaN}\n\n')
    for name in STAGES:
        dump(run / name / "manifest.json", {})

    def thin(value):
        value.pop("tasks"), value.pop("samples")
        value["models"]["base"]["prose_perplexity"]["value"] = None
        value["models"]["grpo"]["accuracy"] = {"value": 0.9}

    change(run / "scores" / "scores.json", thin)
    assert "base 41 % → grpo 90 %" in page_of(run).text


def test_a_lone_surrogate_does_not_stop_the_page(run):
    def break_text(s):
        s["samples"][0]["prompt"] = "half \ud83d emoji"

    change(run / "scores" / "scores.json", break_text)
    assert "half" in page_of(run).text


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("run.json", "{", "not valid JSON"),
        ("run.json", "[]", "must be an object"),
        ("run.json", '{"seed": 1}', "'name' is missing"),
        ("run.json", '{"name": "a", "stages": [{"name": "b", "inputs": ["c"]}]}', "earlier"),
        ("base/manifest.json", '{"metrics": [1]}', "'metrics' must be of type dict"),
        ("grpo/metrics.jsonl", '{"step": 1}\n{"step"', "metrics.jsonl:2: not valid JSON"),
        ("grpo/metrics.jsonl", '{"reward": 1}', "metrics.jsonl:1: a point must have"),
        ("scores/scores.json", '{"models": {"a": {"acc": 3}}}', "'acc' must be of type dict"),
        ("scores/scores.json", "\x80", "not valid JSON"),
    ],
)
def test_corrupt_file_is_a_named_error_and_leaves_the_old_page(run, file, content, said):
    before = write(run).read_bytes()
    (run / file).write_bytes(content.encode("latin-1"))
    with pytest.raises(ReportError, match=re.escape(said)) as raised:
        write(run)
    assert str(run / file) in str(raised.value)
    assert isinstance(raised.value, AlignError)
    assert (run / "report.html").read_bytes() == before


def test_folder_without_a_run_is_a_named_error(tmp_path):
    with pytest.raises(ReportError, match=r"run\.json: no such file"):
        write(tmp_path)


def test_report_needs_no_torch(run):
    code = "import sys; from align.report import write; write(sys.argv[1]); " \
           "sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"  # fmt: skip
    subprocess.run([sys.executable, "-c", code, str(run)], check=True)
