"""The classification head scores a row's last token, wherever the padding is."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, Qwen2ForSequenceClassification

from align.model import (
    QwenForSequenceClassification,
    from_transformers,
    load,
    to_transformers,
)

PAD = 0


@pytest.fixture
def causal_folder(stock, tmp_path):
    from_transformers(stock(pad_token_id=PAD)).save_pretrained(tmp_path / "causal")
    return tmp_path / "causal"


@pytest.fixture
def scorer(causal_folder):
    torch.manual_seed(3)
    model = AutoModelForSequenceClassification.from_pretrained(causal_folder, num_labels=1)
    return model.eval()


def test_a_causal_checkpoint_becomes_a_scorer_with_its_backbone(causal_folder, scorer):
    assert type(scorer) is QwenForSequenceClassification
    assert scorer.score.weight.shape == (1, 64)
    backbone = load(causal_folder).model.state_dict()
    assert all(weight.equal(backbone[name]) for name, weight in scorer.model.state_dict().items())


@pytest.mark.parametrize("with_mask", [True, False])
def test_left_and_right_padding_score_alike(scorer, padded, with_mask):
    text = padded["input_ids"][1:, 4:]
    fill = torch.full((1, 4), PAD)
    ones, zeros = torch.ones_like(text), torch.zeros_like(fill)
    rows = torch.cat([torch.cat([fill, text], 1), torch.cat([text, fill], 1)])
    mask = torch.cat([torch.cat([zeros, ones], 1), torch.cat([ones, zeros], 1)])
    alone = scorer(text).logits
    scores = scorer(rows, attention_mask=mask if with_mask else None).logits
    torch.testing.assert_close(scores[1:], alone, rtol=0, atol=1e-5)
    if with_mask:  # without a mask, text attends to the padding before it
        torch.testing.assert_close(scores[:1], alone, rtol=0, atol=1e-4)


def test_a_text_that_ends_in_the_padding_token_is_scored_at_its_end(scorer, padded):
    """eos == pad. By ids alone, as transformers pools, the score is that of the token before."""
    text = torch.cat([padded["input_ids"][:1], torch.full((1, 1), PAD)], 1)
    rows = torch.cat([text, torch.full((1, 2), PAD)], 1)
    mask = torch.tensor([[1] * text.shape[1] + [0, 0]])
    alone = scorer(text, attention_mask=torch.ones_like(text)).logits
    torch.testing.assert_close(scorer(rows, attention_mask=mask).logits, alone, rtol=0, atol=1e-5)
    theirs = to_transformers(scorer)(rows, attention_mask=mask).logits
    assert (theirs - alone).abs().max() > 1e-2


@pytest.mark.parametrize("labels", [1, 3])
def test_scores_and_loss_equal_transformers(stock, padded, tmp_path, labels, by_mkl):
    torch.manual_seed(3)
    stock(pad_token_id=PAD).save_pretrained(tmp_path)
    theirs = Qwen2ForSequenceClassification.from_pretrained(tmp_path, num_labels=labels).eval()
    ours = from_transformers(theirs)
    batch = {
        "input_ids": padded["input_ids"],
        "attention_mask": padded["attention_mask"],
        "labels": torch.tensor([0, 1]) if labels > 1 else torch.tensor([0.5, -1.0]),
    }
    expected, got = theirs(**batch), ours(**batch)
    torch.testing.assert_close(got.logits, expected.logits, rtol=0, atol=0)
    torch.testing.assert_close(got.loss, expected.loss, rtol=0, atol=0)


def test_a_saved_scorer_loads_with_its_head(scorer, padded, tmp_path):
    scorer.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert type(again) is QwenForSequenceClassification
    batch = {name: padded[name] for name in ("input_ids", "attention_mask")}
    assert again(**batch).logits.equal(scorer(**batch).logits)
    exported = to_transformers(again)
    assert type(exported) is Qwen2ForSequenceClassification
    assert exported.score.weight.equal(scorer.score.weight)


def test_a_batch_whose_padding_cannot_be_told_is_refused(scorer, padded):
    scorer.config.pad_token_id = None
    with pytest.raises(ValueError, match="cannot tell padding from text in a batch of 2"):
        scorer(padded["input_ids"])
