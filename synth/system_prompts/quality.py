"""How much the quality of responses varies between system prompts."""

from collections.abc import Mapping

from synth.flow.window import Window


def tally(window: Window, system_prompt: int, score: int) -> None:
    """Note a judge's score of a response under the system prompt, whether it is kept or not."""
    window.tally(f"scores/{system_prompt}")
    window.tally(f"sum/{system_prompt}", score)
    window.tally(f"squares/{system_prompt}", score * score)


def score_metrics(tallies: Mapping[str, int]) -> dict[str, float]:
    """Of the scores, 1 to 10, of all responses that were judged; {} if there are none.

    score/mean: over responses.
    score/variance: over responses; it is the sum of the two next ones.
    score/variance_between: of the system prompts' means, each counted by its responses.
    score/variance_within: of the responses around the mean of their system prompt.
    score/variance_of_prompts: an estimate of what of `variance_between` is due to the system
        prompts and would stay with more responses (one-way random effects, by the mean squares; at
        least 0). Not there without two system prompts, or if none has two scores.
    score/worst, score/best: the lowest and the highest mean of a system prompt.
    score/worst_prompt, score/best_prompt: its number in the set, the lowest one that has it.
    """
    counts = {int(n): k for n, k in _by_prompt(tallies, "scores").items()}
    if not counts:
        return {}
    sums = {n: tallies[f"sum/{n}"] for n in counts}
    means = {n: sums[n] / counts[n] for n in sorted(counts)}
    total, prompts = sum(counts.values()), len(counts)
    mean = sum(sums.values()) / total
    between = sum(counts[n] * (means[n] - mean) ** 2 for n in means)
    # Whole numbers as long as can be: a difference of means of squares would lose digits.
    within = sum(
        (counts[n] * tallies[f"squares/{n}"] - sums[n] ** 2) / counts[n] for n in sorted(counts)
    )
    worst, best = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    found = {
        "score/mean": mean,
        "score/variance": (between + within) / total,
        "score/variance_between": between / total,
        "score/variance_within": within / total,
        "score/worst": means[worst],
        "score/worst_prompt": float(worst),
        "score/best": means[best],
        "score/best_prompt": float(best),
    }
    if prompts > 1 and total > prompts:
        typical = (total - sum(k * k for k in counts.values()) / total) / (prompts - 1)
        estimate = (between / (prompts - 1) - within / (total - prompts)) / typical
        found["score/variance_of_prompts"] = max(0.0, estimate)
    return found


def _by_prompt(tallies: Mapping[str, int], name: str) -> dict[str, int]:
    start = f"{name}/"
    return {key.removeprefix(start): n for key, n in tallies.items() if key.startswith(start)}
