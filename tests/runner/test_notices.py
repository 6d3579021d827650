"""Warnings of the libraries reach the manifest once each, and deprecations do not."""

import logging
import warnings

from align.runner import notices

NEW_HEAD = (
    "\x1b[1mQwenForSequenceClassification LOAD REPORT\x1b[0m from: runs/sft\nKey | Status | \n"
    "-------------+---------+-\n{keys}Notes:\n- MISSING: those params were newly initialized"
)


def test_distinct_warnings_are_kept_once_without_colours():
    with notices.collected() as found:
        for _ in range(2):
            warnings.warn("the prompt was cut", stacklevel=1)
            logging.getLogger("transformers.trainer").warning("\x1b[1mno samples\x1b[0m")
        warnings.warn("old name", FutureWarning, stacklevel=1)
    assert found == ["the prompt was cut", "no samples"]


def test_a_reward_models_new_head_is_expected_and_other_missing_weights_are_not():
    logger = logging.getLogger("transformers")
    with notices.collected() as found:
        logger.warning(NEW_HEAD.format(keys="score.weight | MISSING | \n"))
    assert found == []
    with notices.collected() as found:
        other = "model.norm.weight | MISSING | \nscore.weight | MISSING | \n"
        logger.warning(NEW_HEAD.format(keys=other))
    assert len(found) == 1
