"""When a training text overlaps with an evaluation text (Qwen2, arXiv 2407.10671).

Their longest common subsequence, over words, has at least 13 words and at least 0.6 of the shorter
text's. It is the order that counts: other words may stand between. So a long document that happens
to use most words of a short question in the question's order overlaps with it; that is the rule.
"""

MIN_COMMON = 13


def least_common(shorter: int) -> int:
    """Words in common from which it is an overlap, if the shorter text has `shorter` words.

    For fewer than 13 words it is more than they are: such a text never overlaps. Whole numbers
    throughout: 5 * common >= 3 * shorter.
    """
    return max(MIN_COMMON, -(-3 * shorter // 5))
