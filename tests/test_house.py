"""The house's rules that no other test would notice being broken."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "align.recipe",
    "align.runner",
    "align.stages",
    "align.train",
    "align.generate",
    "align.model",
    "align.pretrain",
    "align.evaluate",
    "align.report",
    "synth",
    "rewards",
    "verifiers",
)
BELOW_STAGES = {
    "align.train",
    "align.pretrain",
    "align.evaluate",
    "align.generate",
    "align.model",
    "synth",
    "rewards",
    "verifiers",
}
# Who may import whom, downwards only. `align` itself (names and errors) is open to all of align.
MAY_IMPORT = {
    "verifiers": set(),
    "rewards": {"verifiers"},
    "synth": {"rewards", "verifiers"},
    "align.model": set(),
    "align.generate": {"align.model"},
    "align.train": {"align.model"},
    "align.pretrain": {"align.model"},
    "align.evaluate": {"align.generate"},
    "align.recipe": set(),
    "align.stages": {"align.recipe"} | BELOW_STAGES,
    "align.runner": {"align.recipe", "align.stages", "synth", "rewards", "verifiers"},
    "align.report": set(),
    "cli": {"align.runner", "align.report", "align.generate", "align.model", "verifiers"},
}


def room_of(module: str) -> str | None:
    return next((r for r in ROOMS if module == r or module.startswith(r + ".")), None)


def imports(path: Path) -> set[str]:
    """Modules that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def forbidden(room: str, modules: set[str]) -> set[str]:
    used = {room_of(m) for m in modules} - {None, room}
    return {r for r in used if r not in MAY_IMPORT[room]}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_downwards_only(room):
    path = ROOT / room.replace(".", "/")
    files = [ROOT / "cli.py"] if room == "cli" else sorted(path.rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): forbidden(room, imports(f)) for f in files}
    assert not {f: r for f, r in wrong.items() if r}


def test_an_upward_import_would_be_noticed():
    assert forbidden("verifiers", {"rewards.registry"}) == {"rewards"}
    assert forbidden("align.model", {"align.stages"}) == {"align.stages"}


def modules_after(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module", ["align", "cli", "synth", "rewards", "verifiers", "align.report"]
)
def test_light_rooms_import_without_torch(module):
    assert "torch" not in modules_after(f"import {module}")


def test_loading_and_planning_a_recipe_import_no_torch():
    loaded = modules_after("import align; align.plan('recipes/quickstart.yaml')")
    assert "pydantic" in loaded
    assert not loaded & {"torch", "trl", "transformers", "datasets"}
