"""Evol-Instruct's rules of elimination (arXiv 2304.12244 §3.1), as far as code can tell."""

import re

# Words of our own prompts: they stand in an evolved instruction only if the model copied them.
_OURS = (
    "given prompt",
    "rewritten prompt",
    "created prompt",
    "semantic tree",
    "给定的提示",
    "改写后的提示",
    "新创作的提示",
    "语义树",
)
_SORRY = ("sorry", "抱歉", "对不起")
# A Chinese character counts as a word.
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+(?:['\u2019][^\W\u3400-\u9fff]+)?")
_STOP_WORDS = """
    a about above after again against all also am an and any are aren't as at be because been before
    being below between both but by can cannot can't could couldn't did didn't do does doesn't doing
    don't down during each few for from further had hadn't has hasn't have haven't having he he's
    her here hers herself him himself his how i if i'm in into is isn't it it's its itself i've just
    me more most my myself no nor not now of off on once only or other our ours ourselves out over
    own same she she's should shouldn't so some such than that that's the their theirs them
    themselves then there there's these they they're this those through to too under until up very
    was wasn't we we're were weren't what when where which while who whom why will with won't would
    wouldn't you you're your yours yourself yourselves
    的 了 和 是 在 就 都 而 及 与 着 或 也 又 还 很 吗 呢 吧 啊 我 你 他 她 它 们 这 那 有 不 之 其
"""
_STOPPED = frozenset(_STOP_WORDS.split())


def copied(text: str, before: str) -> str | None:
    """Words of the evolving prompt in `text` that were not in the instruction before."""
    text, before = text.casefold(), before.casefold()
    return next((words for words in _OURS if words in text and words not in before), None)


def num_words(text: str) -> int:
    return len(_WORD.findall(text))


def is_sorry(response: str, max_words: int) -> bool:
    """Whether it says sorry in fewer than so many words."""
    said = response.casefold()
    return any(word in said for word in _SORRY) and num_words(response) < max_words


def says_nothing(response: str) -> bool:
    """Whether it has only punctuation and stop words."""
    words = _WORD.findall(response.casefold().replace("\u2019", "'"))
    return all(word in _STOPPED for word in words)
