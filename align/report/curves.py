"""Which of a stage's logged numbers tell what happened in it."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from align.report.chart import Point, Series
from align.report.read import StageRun

NOT_TELLING = ("step", "epoch", "learning_rate", "*lr", "*runtime*", "*_per_second", "total_flos")


@dataclass(frozen=True)
class Pick:
    """A logged name (a shell pattern; `{}` in the label is what the star stood for)."""

    pattern: str
    label: str
    is_share: bool = False


LOSS = Pick("loss", "loss (nats a token)")
SPEED = Pick("tokens_per_second", "speed (tokens/s)")
PICKS: dict[str, tuple[Pick, ...]] = {
    "pretrain": (LOSS, Pick("eval_loss", "held-out loss (nats a token)"), SPEED),
    "sft": (LOSS, Pick("mean_token_accuracy", "tokens predicted right", True)),
    "dpo": (
        Pick("loss", "loss"),
        Pick("rewards/accuracies", "chosen above rejected", True),
        Pick("rewards/margins", "reward margin"),
    ),
    "reward": (
        Pick("loss", "loss"),
        Pick("accuracy", "chosen above rejected", True),
        Pick("eval_accuracy", "chosen above rejected, held out", True),
        Pick("margin", "reward margin"),
    ),
    "grpo": (
        Pick("reward", "reward, mean"),
        Pick("rewards/*/mean", "{}, mean reward"),
        Pick("completions/mean_length", "answer length (tokens)"),
        Pick("frac_reward_zero_std", "groups without a signal", True),
        Pick("kl", "KL from the reference (nats)"),
    ),
}


def chosen(stage: StageRun) -> list[Series]:
    """The series worth a chart, in telling order; if none is known, the first three logged."""
    names = list(dict.fromkeys(name for point in stage.curve for name in point))
    found: list[Series] = []
    for pick in PICKS.get(stage.kind, ()):
        for name in names:
            if fnmatchcase(name, pick.pattern):
                label = pick.label.format(_starred(name, pick.pattern))
                found.append(Series(name, label, _points(stage, name), pick.is_share))
    if found or not names:
        return found
    rest = [n for n in names if not any(fnmatchcase(n, p) for p in NOT_TELLING)]
    return [Series(name, name, _points(stage, name)) for name in rest[:3]]


def _starred(name: str, pattern: str) -> str:
    before, _, after = pattern.partition("*")
    return name.removeprefix(before).removesuffix(after)


def _points(stage: StageRun, name: str) -> list[Point]:
    return sorted((p["step"], p[name]) for p in stage.curve if name in p)
