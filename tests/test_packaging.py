"""What pip installs: our packages, found beside each other, and nobody else's under our names."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run_align(*words: str, path: list[Path], cwd: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(
        [sys.executable, "-P", "-m", "align", *words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_another_distributions_verifiers_is_noticed_at_the_start(tmp_path):
    foreign = tmp_path / "verifiers" / "__init__.py"
    foreign.parent.mkdir()
    foreign.write_text("raise SystemExit('imported')\n")
    done = run_align("--version", path=[tmp_path, ROOT], cwd=tmp_path)
    assert done.returncode == 2
    assert f"another distribution provides 'verifiers' (found at {foreign})" in done.stderr
    assert run_align("--version", path=[ROOT], cwd=tmp_path).returncode == 0


def test_a_package_merged_over_ours_is_noticed_by_its_missing_marker(tmp_path):
    for name in ("align", "synth", "rewards", "verifiers", "cli.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "rewards").unlink()
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards" / "__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import align.__main__ as m; "
    code += "m.__file__ = sys.path[0] + '/align/__main__.py'; print(*m.foreign_packages())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert "another distribution provides 'rewards'" in done.stdout


@pytest.mark.slow
def test_a_wheel_holds_all_that_a_run_needs(tmp_path):
    words = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(words, check=True, capture_output=True)
    [wheel] = tmp_path.glob("align_toolkit-*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    names = {path.relative_to(installed).as_posix() for path in installed.rglob("*")}
    assert {"cli.py", "align/recipes/quickstart.yaml", "align/report/page.html"} <= names
    ours = {p.name for p in ROOT.glob("align/*") if (p / "__init__.py").exists()}
    assert ours == {
        Path(n).parent.name
        for n in names
        if n.count("/") == 2 and n[:6] == "align/" and n.endswith("/__init__.py")
    }
    recipe = installed / "align" / "recipes" / "quickstart.yaml"
    done = run_align("plan", str(recipe), path=[installed], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
