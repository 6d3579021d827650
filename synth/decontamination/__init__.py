"""Training rows that overlap with evaluation sets, found by the rule of Qwen2 (arXiv 2407.10671).

    evaluations = Evaluations.read([Path("gsm8k_test.jsonl"), Path("HumanEval.jsonl.gz")])
    for row, overlap in zip(rows, evaluations.find(rows)):
        ...                              # None, or an Overlap that names the pair and quotes it

`rule` says what an overlap is, `sieve` finds the few pairs worth comparing without losing one, and
`evaluations` compares them exactly.
"""

from synth.decontamination.evaluations import Evaluations, Overlap

__all__ = ["Evaluations", "Overlap"]
