"""Dual Chunk Attention against its paper's matrices and a softmax over all keys at once."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import align.model.dual_chunk as module
from align.model import ModelConfigError, QwenForCausalLM, preset
from align.model.dual_chunk import DualChunk, dual_chunk_attention, relative_positions
from align.model.rope import inverse_frequencies, rotate


def chunks(c, s, **more) -> DualChunk:
    return DualChunk.from_config(
        {"chunk_size": c, "local_size": c - s, "original_max_position_embeddings": c, **more}
    )


def test_distances_are_those_of_the_paper():
    """arXiv 2402.17463, figure 2: trained on 10 tokens, chunks of 6, a text of 12."""
    rows = relative_positions(12, chunks(10, 6))
    assert rows[6, :7].tolist() == [6, 5, 4, 3, 2, 1, 0]
    assert rows[9, :10].tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert rows[11].tolist() == [9, 8, 7, 6, 5, 4, 5, 4, 3, 2, 1, 0]


def test_distances_are_those_of_qwens_report():
    """arXiv 2501.15383, figure 2: c = 8, s = 5, a text of 15."""
    rows = relative_positions(15, chunks(8, 5))
    assert rows[8, :9].tolist() == [7, 6, 5, 4, 3, 3, 2, 1, 0]
    assert rows[12, :13].tolist() == [7, 6, 5, 4, 3, 7, 6, 5, 4, 3, 2, 1, 0]


def test_the_released_code_clamps_one_later():
    paper, released = (relative_positions(15, chunks(8, 5, clamp=kind)) for kind in
                       ("paper", "released"))  # fmt: skip
    causal = torch.ones(15, 15).tril().bool()
    assert causal.sum() == 120
    assert (paper != released)[causal].sum() == 45
    assert paper.max() == 7 and released.max() == 8


@pytest.mark.parametrize(("c", "s"), [(8, 5), (10, 6), (64, 48)])
def test_near_distances_are_exact_and_none_exceeds_the_trained_length(c, s):
    length = 5 * s + 3
    rows = relative_positions(length, chunks(c, s))
    causal = torch.ones(length, length).tril().bool()
    assert rows[causal].min() == 0 and rows[causal].max() <= c - 1
    for query in range(length):
        nearest = min(query, c - s)
        expected = list(range(nearest, -1, -1))
        assert rows[query, query - nearest : query + 1].tolist() == expected


def case(length, batch=1, heads=4, key_heads=2, size=8, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def random(n):
        return torch.randn(batch, n, length, size, generator=generator, dtype=torch.float64)

    return random(heads), random(key_heads), random(key_heads)


def turn(x, positions):
    angles = positions[..., None].double() * inverse_frequencies(1e4, x.shape[-1]).double()
    angles = torch.cat((angles, angles), -1)
    return rotate(x, angles.cos().to(x.dtype), angles.sin().to(x.dtype))


def by_definition(query, key, value, settings, scaling):
    """One softmax a query, each score at the distance that the matrix says."""
    length = query.shape[2]
    distance = relative_positions(length, settings)
    key, value = (x.repeat_interleave(query.shape[1] // key.shape[1], 1) for x in (key, value))
    scores = torch.full((*query.shape[:3], length), -math.inf, dtype=torch.float64)
    for gap in range(int(distance.max()) + 1):
        turned = turn(query, torch.full((len(query), length), gap))
        part = turned @ key.transpose(-1, -2) * scaling
        scores = part.where(distance == gap, scores)
    return (scores.softmax(-1) @ value).transpose(1, 2)


def attend(query, key, value, settings, *, first=0, mask=None, positions=None):
    length = key.shape[2]
    at = torch.arange(length).expand(len(query), -1) if positions is None else positions
    return dual_chunk_attention(
        query[:, :, first:],
        key,
        value,
        query_positions=at[:, first:],
        key_positions=at,
        key_mask=mask,
        turn=turn,
        settings=settings,
        scaling=0.3,
    )


@pytest.mark.parametrize("block", [4, 1024])
@pytest.mark.parametrize("clamp", ["paper", "released"])
@pytest.mark.parametrize("length", [5, 6, 17, 40])
def test_blocks_merge_to_one_softmax(monkeypatch, block, clamp, length):
    monkeypatch.setattr(module, "BLOCK", block)
    settings = chunks(8, 5, clamp=clamp, temperature=False)
    q, k, v = case(length, batch=2)
    expected = by_definition(q, k, v, settings, 0.3)
    torch.testing.assert_close(attend(q, k, v, settings), expected, rtol=0, atol=1e-12)


def test_below_one_chunk_it_is_ordinary_attention():
    settings = chunks(16, 12)
    q, k, v = case(12)
    at = torch.arange(12)[None]
    full = torch.nn.functional.scaled_dot_product_attention(
        turn(q, at), turn(k, at), v, is_causal=True, scale=0.3, enable_gqa=True
    )
    got = attend(q, k, v, settings)
    torch.testing.assert_close(got, full.transpose(1, 2), rtol=0, atol=1e-12)


def test_gradients_are_those_of_one_softmax(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    settings = chunks(8, 5, temperature=False)
    given = [x.requires_grad_() for x in case(17)]
    got = torch.autograd.grad(attend(*given, settings).square().sum(), given)
    whole = by_definition(*given, settings, 0.3)
    expected = torch.autograd.grad(whole.square().sum(), given)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_bf16_is_rounded_at_the_end_only():
    q, k, v = (x.bfloat16() for x in case(300))
    at = torch.arange(300)[None]
    turned = [x.double() for x in (turn(q, at), turn(k, at), v)]
    exact = torch.nn.functional.scaled_dot_product_attention(
        *turned, is_causal=True, scale=0.3, enable_gqa=True
    ).transpose(1, 2)
    got = attend(q, k, v, chunks(400, 300))
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), exact, rtol=2**-8, atol=1e-6)


class Largest(TorchDispatchMode):
    """The most elements of any tensor made inside."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.elements = max(self.elements, out.numel())
        return out


def test_scores_are_held_for_one_block_only(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 16)
    q, k, v = case(160)
    with Largest() as largest:
        attend(q, k, v, chunks(64, 48))
    assert largest.elements == max(q.numel(), 4 * 16 * 16)


@pytest.mark.parametrize("block", [4, 1024])
def test_a_decoded_token_equals_the_last_of_a_prefill(monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    settings = chunks(8, 5)
    for length in (6, 11, 23):
        q, k, v = case(length)
        whole = attend(q, k, v, settings)[:, -1:]
        last = attend(q, k, v, settings, first=length - 1)
        torch.testing.assert_close(last, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("block", [4, 1024])
@pytest.mark.parametrize("first", [0, 20, 24])
def test_rows_of_unequal_padding_are_as_if_alone(monkeypatch, block, first):
    """From `first` on, the tokens before it being cached; each row has a temperature of its own."""
    monkeypatch.setattr(module, "BLOCK", block)
    settings = chunks(8, 5)
    q, k, v = case(25, batch=4)
    mask = torch.ones(4, 25, dtype=torch.bool)
    mask[1, :6] = mask[2, :17] = False
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    got = attend(q, k, v, settings, first=first, mask=mask, positions=positions)
    for row, padding in enumerate((0, 6, 17, 0)):
        alone = [x[row : row + 1, :, padding:] for x in (q, k, v)]
        expected = attend(*alone, settings)[0, max(first - padding, 0) :]
        torch.testing.assert_close(got[row, -len(expected) :], expected, rtol=0, atol=1e-12)


def test_a_row_of_nothing_but_padding_is_zero():
    q, k, v = case(7)
    mask = torch.zeros(1, 7, dtype=torch.bool)
    assert not attend(q, k, v, chunks(8, 5), mask=mask).any()


def test_the_temperature_grows_with_the_length():
    settings = DualChunk.from_config(
        {"chunk_size": 262_144, "local_size": 8192, "original_max_position_embeddings": 262_144}
    )
    assert settings.chunk_length == 253_952
    lengths = torch.tensor([[262_143], [1_009_999]])
    sharpness = module._sharpness(lengths, settings)
    assert sharpness[0] == 1.0
    assert sharpness[1].sqrt().item() == pytest.approx(1.13488, abs=1e-5)
    assert sharpness[1].item() == pytest.approx(1.28796, abs=1e-5)


def test_the_temperature_grows_keys_and_scores():
    """20 tokens of a trained length of 8: m = 0.1 ln(20 / 8) + 1."""
    settings = chunks(8, 5)
    q, k, v = case(20)
    m = 0.1 * math.log(20 / 8) + 1
    expected = by_definition(q, m * k, v, settings, m * 0.3)
    torch.testing.assert_close(attend(q, k, v, settings), expected, rtol=0, atol=1e-12)
    cold = attend(q, k, v, chunks(8, 5, temperature=False))
    assert (cold - expected).abs().max() > 1e-3


def model(**fields) -> QwenForCausalLM:
    torch.manual_seed(0)
    config = preset("tiny", vocab_size=53, hidden_size=32, head_dim=8, num_hidden_layers=2,
                    initializer_range=0.2, **fields)  # fmt: skip
    return QwenForCausalLM(config).eval()


CHUNKS = {"chunk_size": 16, "local_size": 4, "original_max_position_embeddings": 1000}


def test_a_model_in_chunks_generates_as_it_reads():
    chunked = model(dual_chunk_attention_config=CHUNKS)
    tokens = torch.randint(0, 53, (1, 45))
    whole = chunked(tokens).logits
    cache, steps = None, []
    for piece in tokens.split([20, 1, 1, 10, 1, 12], 1):
        out = chunked(piece, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        steps.append(out.logits)
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=0, atol=1e-4)


def test_a_model_in_chunks_is_an_ordinary_one_below_a_chunk_and_another_above():
    chunked, plain = model(dual_chunk_attention_config=CHUNKS), model()
    plain.load_state_dict(chunked.state_dict())
    tokens = torch.randint(0, 53, (2, 40))
    assert torch.equal(chunked(tokens[:, :12]).logits, plain(tokens[:, :12]).logits)
    assert (chunked(tokens).logits - plain(tokens).logits)[:, 12:].abs().max() > 1e-2


def test_long_packed_documents_are_refused():
    tokens = torch.randint(0, 53, (1, 40))
    positions = torch.cat([torch.arange(20), torch.arange(20)])[None]
    with pytest.raises(ValueError, match="one text a row"):
        model(dual_chunk_attention_config=CHUNKS)(tokens, position_ids=positions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"local_size": 64}, "local_size 64: expected 1 to chunk_size - 1 = 63"),
        ({"local_size": 0}, "local_size 0"),
        ({"local_size": None}, "local_size None: expected a whole number of tokens"),
        ({"chunk_size": "64"}, "chunk_size '64'"),
        ({"chunk_size": 64.5}, "chunk_size 64.5"),
        ({"original_max_position_embeddings": 0}, "original_max_position_embeddings 0"),
        ({"clamp": "other"}, "clamp 'other'"),
        ({"temperature": "false"}, "temperature 'false': expected true or false"),
        ({"chunk": 4}, "has unknown chunk"),
    ],
)
def test_settings_that_make_no_chunks_are_named(change, message):
    given = {"chunk_size": 64, "local_size": 16, "original_max_position_embeddings": 64}
    with pytest.raises(ModelConfigError, match=message):
        DualChunk.from_config({**given, **change})
    with pytest.raises(ModelConfigError, match="lacks local_size, original_max"):
        DualChunk.from_config({"chunk_size": 64})
