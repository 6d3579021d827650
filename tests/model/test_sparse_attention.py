"""Vertical-slash attention: dense at full budget, causal, and it finds what was planted."""

import itertools

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from align.model import ModelConfigError, QwenForCausalLM, preset
from align.model.sparse import VerticalSlash, recall, select, vertical_slash_attention
from align.model.sparse_calibration import refine

SMALL = VerticalSlash(vertical=8, slash=8, last_queries=16, sinks=2, local=4, threshold=16)


def case(length=150, heads=4, key_heads=2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, heads), (1, key_heads), (1, key_heads))
    return [torch.randn(*s, length, 8, generator=generator, dtype=dtype) * 2 for s in shapes]


def attend(q, k, v, settings, mask=None):
    return vertical_slash_attention(
        q, k, v, settings=settings, layer=0, scaling=0.35, key_mask=mask
    )


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("full", [{"vertical": 150}, {"slash": 150}])
def test_full_budget_is_dense_attention(dtype, close, full):
    q, k, v = case(dtype=dtype)
    settings = VerticalSlash(**{"vertical": 1, "slash": 1, "local": 1, "threshold": 0, **full})
    out, log_sums = attend(q, k, v, settings)
    dense = scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.35, enable_gqa=True)
    torch.testing.assert_close(out, dense.transpose(1, 2), rtol=0, atol=close)
    whole = recall(q[0], k[0], log_sums[0], 0.35)
    torch.testing.assert_close(whole, torch.ones(4), rtol=0, atol=1e-5)


def test_recall_grows_with_the_budget():
    q, k, v = case()
    covered = []
    for budget in (1, 4, 16, 64, 150):
        settings = VerticalSlash(vertical=budget, slash=budget, sinks=1, local=1, threshold=0)
        covered.append(recall(q[0], k[0], attend(q, k, v, settings)[1][0], 0.35))
    for less, more in itertools.pairwise(covered):
        assert (more >= less - 1e-6).all()
    assert (covered[0] < 0.9).all() and covered[-1].min() > 0.999


def test_no_query_sees_a_later_key():
    """The estimate is made of the last queries, so they are left as they are."""
    q, k, v = case()
    changed = v.clone()
    changed[:, :, 100] += 100
    difference = (attend(q, k, v, SMALL)[0] - attend(q, k, changed, SMALL)[0]).abs().amax((0, 2, 3))
    assert difference[:100].max() == 0 and difference[100] > 0


@pytest.mark.parametrize(("left", "right"), [(70, 0), (0, 70), (40, 30)])
def test_padding_changes_nothing_on_either_side(left, right):
    q, k, v = case()
    noise = torch.randn(70, 8) * 9
    padded = [
        torch.cat([noise[:left].expand(*x.shape[:2], -1, -1), x,
                   noise[left:].expand(*x.shape[:2], -1, -1)], 2)
        for x in (q, k, v)
    ]  # fmt: skip
    at = torch.arange(220)
    mask = ((at >= left) & (at < 220 - right))[None]
    out, log_sums = attend(*padded, SMALL, mask)
    expected, expected_sums = attend(q, k, v, SMALL)
    torch.testing.assert_close(out[mask], expected[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(log_sums[:, :, mask[0]], expected_sums, rtol=0, atol=1e-6)
    assert out[~mask].abs().max() == 0


def test_a_short_row_is_read_whole_however_long_the_others_are():
    q, k, v = (x.expand(2, -1, -1, -1) for x in case())
    settings = VerticalSlash(**{**vars(SMALL), "threshold": 100})
    mask = torch.arange(150)[None] >= torch.tensor([[0], [60]])
    out, _ = attend(q, k, v, settings, mask)
    alone = [x[:1, :, 60:] for x in (q, k, v)]
    dense = scaled_dot_product_attention(*alone, is_causal=True, scale=0.35, enable_gqa=True)
    torch.testing.assert_close(out[1:, 60:], dense.transpose(1, 2), rtol=0, atol=1e-5)
    assert out[:1].equal(attend(q[:1], k[:1], v[:1], SMALL)[0])


def test_a_row_of_nothing_but_padding_is_zero():
    q, k, v = case(20)
    out, log_sums = attend(q, k, v, SMALL, torch.zeros(1, 20, dtype=torch.bool))
    assert not out.any() and (log_sums == -torch.inf).all()


def test_bf16_rounds_no_more_than_dense_attention_does():
    exact = case(length=600, dtype=torch.float64)
    settings = VerticalSlash(vertical=600, threshold=0)
    true = attend(*exact, settings)[0]
    rounded = [x.bfloat16() for x in exact]
    ours = attend(*rounded, settings)[0]
    dense = scaled_dot_product_attention(*rounded, is_causal=True, scale=0.35, enable_gqa=True)
    error, usual = ((x.double() - true).abs().max() for x in (ours, dense.transpose(1, 2)))
    assert error <= 1.5 * usual


def test_planted_columns_and_distances_are_found_and_the_nearest_always_kept():
    length = 400
    query, key = torch.zeros(length, 64), torch.zeros(length, 64)
    query[:, 0] = 5.0
    for column in (57, 123, 301):
        key[column, 0] = 5.0
    settings = VerticalSlash(sinks=2, local=3, last_queries=64)
    columns, distances = select(query, key, (5, 3), settings, 1.0)
    assert columns.nonzero()[:, 0].tolist() == [0, 1, 57, 123, 301]
    assert distances.nonzero()[:, 0].tolist() == [0, 1, 2]

    torch.manual_seed(0)
    marks = torch.nn.functional.normalize(torch.randn(length, 64), dim=-1) * 6
    query, key = marks.clone(), torch.zeros(length, 64)
    key[: length - 90] = marks[90:]  # a query is at home with the key 90 before it
    columns, distances = select(query, key, (2, 4), settings, 1.0)
    assert distances.nonzero()[:, 0].tolist() == [0, 1, 2, 90]
    assert columns.nonzero()[:, 0].tolist() == [0, 1]


def tiny(**fields) -> QwenForCausalLM:
    torch.manual_seed(0)
    config = preset("tiny", vocab_size=53, hidden_size=32, head_dim=8, num_hidden_layers=2,
                    initializer_range=0.4, **fields)  # fmt: skip
    return QwenForCausalLM(config).eval()


def test_refinement_gives_more_to_the_heads_that_need_it_and_to_no_others():
    model = tiny()
    texts = [torch.randint(0, 53, (300,)) for _ in range(2)]
    refined = refine(model, texts, SMALL, least=0.8)
    start = [SMALL.vertical, SMALL.slash]
    assert (refined.after >= 0.8).all()
    grown = torch.tensor([[b != start for b in refined.heads[str(n)]] for n in range(2)])
    assert grown.equal(refined.before < 0.8)
    assert grown.any()
    again = refine(
        model, texts, VerticalSlash(**{**vars(SMALL), "heads": refined.heads}), least=0.8
    )
    assert again.heads == refined.heads


@torch.no_grad()
def test_a_model_reads_long_prompts_sparsely_and_short_ones_densely():
    given = {**vars(SMALL), "threshold": 64}
    sparse, dense = tiny(sparse_attention_config=given), tiny()
    dense.load_state_dict(sparse.state_dict())
    tokens = torch.randint(0, 53, (1, 120))
    assert sparse(tokens[:, :64]).logits.equal(dense(tokens[:, :64]).logits)
    assert (sparse(tokens).logits - dense(tokens).logits).abs().max() > 1e-3
    whole = {**given, "vertical": 120, "slash": 120}
    full = tiny(sparse_attention_config=whole)
    full.load_state_dict(sparse.state_dict())
    torch.testing.assert_close(full(tokens).logits, dense(tokens).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"vertical": 0}, "vertical 0: expected a whole number of 1 or more"),
        ({"slash": 2.5}, "slash 2.5: expected"),
        ({"local": True}, "local True: expected"),
        ({"sinks": -1}, "sinks -1: expected a whole number of 0 or more"),
        ({"threshold": "64"}, "threshold '64': expected"),
        ({"slashes": 3}, "has unknown slashes"),
        ({"heads": [[4, 4]]}, "a list for each layer's number"),
        ({"heads": {"first": []}}, "has the layer 'first': expected its number"),
        ({"heads": {"01": []}}, "has the layer '01': expected its number"),
        ({"heads": {"0": 4}}, "heads of layer 0 has 4: expected \\[vertical, slash\\]"),
        ({"heads": {"0": [[4]]}}, "heads of layer 0 has \\[4\\]: expected"),
        ({"heads": {"0": [[4, 0]]}}, "heads of layer 0 has \\[4, 0\\]: expected"),
    ],
)
def test_settings_that_make_no_sense_are_named(given, message):
    with pytest.raises(ModelConfigError, match=message):
        VerticalSlash.from_config(given)


def test_budgets_for_other_heads_or_layers_are_named():
    with pytest.raises(ModelConfigError, match="layer 1 has 1 budgets, the layer has 4 heads"):
        tiny(sparse_attention_config={"heads": {"1": [[4, 4]]}})
    with pytest.raises(ModelConfigError, match="heads has the layer '2': the model has 2 layers"):
        tiny(sparse_attention_config={"heads": {"2": [[4, 4]] * 4}})
