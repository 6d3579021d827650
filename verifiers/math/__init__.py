r"""Verifier "math": the final answer of a completion against a reference.

Plain numbers are compared as fractions and texts as texts, in this process, in microseconds; sets,
tuples and intervals member by member. What is left (surds, polynomials, equations) goes to a pool
of worker processes with math-verify, each item with a clock of its own that ends in a kill. So this
works from threads and forked data loaders, and no expression can hold up another.

Numbers are equal when they are, without rounding: `3.14` is not pi and `0.333` not 1/3. Only a
decimal that comes within a millionth of a number that no decimal can write out (1/3, pi) is taken
for it. Units must agree where both sides have one. `50%` equals `50` and not `0.5`.
"""

from verifiers.math.judging import MAX_ANSWER_CHARS, configure, verify, verify_batch

__all__ = ["MAX_ANSWER_CHARS", "configure", "verify", "verify_batch"]
