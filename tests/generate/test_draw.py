import subprocess
import sys

import pytest
import torch

from align.generate import Sampling
from align.generate.draw import draw, uniform_numbers

LOGITS = torch.log(torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05]))
# 99.9 % quantile of chi-square with 4 degrees of freedom
CHI_SQUARE_4 = 18.47
DRAWS = 20_000


def counts(sampling, seed=0):
    uniforms = uniform_numbers([[seed]], [[0]], seed, Sampling(max_tokens=DRAWS))[0]
    token, _ = draw(LOGITS.expand(DRAWS, -1), uniforms, sampling)
    return torch.bincount(token, minlength=5).double()


def chi_square(observed, probabilities):
    expected = probabilities * observed.sum()
    return float(((observed - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_softmax_at_the_temperature(temperature):
    observed = counts(Sampling(temperature=temperature))
    assert chi_square(observed, torch.softmax(LOGITS / temperature, -1)) < CHI_SQUARE_4
    assert chi_square(observed, torch.softmax(LOGITS / (temperature * 1.2), -1)) > CHI_SQUARE_4


@pytest.mark.parametrize(
    ("sampling", "support"),
    [
        (Sampling(top_k=2), 2),
        (Sampling(top_k=99), 5),
        (Sampling(top_p=0.39), 1),
        (Sampling(top_p=0.41), 2),
        (Sampling(top_p=0.8), 3),
        # the three likeliest hold 0.85, of which the first two have 0.82
        (Sampling(top_k=3, top_p=0.8), 2),
    ],
)
def test_filters_keep_the_likeliest_tokens_and_their_proportions(sampling, support):
    observed = counts(sampling)
    assert (observed[:support] > 0).all()
    assert observed[support:].sum() == 0
    probabilities = torch.softmax(LOGITS[:support], -1)
    assert chi_square(observed[:support], probabilities) < CHI_SQUARE_4


def test_logps_ignore_temperature_and_filters():
    uniforms = torch.full((1,), 0.99, dtype=torch.float64)
    token, logp = draw(LOGITS[None], uniforms, Sampling(temperature=0.1, top_k=1))
    assert token.item() == 0
    assert logp.item() == pytest.approx(LOGITS[0].item(), abs=1e-6)


def test_a_token_of_probability_zero_is_never_drawn():
    logits = torch.tensor([[float("-inf"), 0.0, float("-inf"), 0.0, float("-inf")]])
    uniforms = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    token, _ = draw(logits.expand(3, -1), uniforms, Sampling())
    assert token.tolist() == [1, 3, 3]


def test_a_large_vocabulary_keeps_its_tail():
    # 50 000 tokens that share a hundredth of the mass, behind one that has the rest
    logits = torch.zeros(1, 50_001)
    logits[0, 0] = torch.tensor(99 * 50_000.0).log()
    uniforms = torch.linspace(0.99, 1 - 1e-9, 200, dtype=torch.float64)
    token, _ = draw(logits.expand(200, -1), uniforms, Sampling())
    expected = ((uniforms - 0.99) / 0.01 * 50_000).long() + 1
    assert (token - expected).abs().max() < 5


def test_uniform_numbers_depend_on_seed_prompt_and_sample_alone():
    long = uniform_numbers([[1, 2], [3]], [[0, 1], [0, 1]], 0, Sampling(max_tokens=50))
    assert torch.equal(uniform_numbers([[3]], [[0, 1]], 0, Sampling(max_tokens=10)), long[2:, :10])
    assert torch.equal(uniform_numbers([[3]], [[1]], 0, Sampling(max_tokens=10))[0], long[3, :10])
    assert len({row[0] for row in long.tolist()}) == 4
    assert not torch.equal(
        uniform_numbers([[3]], [[0]], 1, Sampling(max_tokens=10))[0], long[2, :10]
    )


@pytest.mark.parametrize(
    "settings",
    [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.1}, {"top_k": -1}, {"max_tokens": 0}],
)
def test_a_sampling_value_outside_its_range_is_named(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Sampling(**settings)


def test_the_interface_imports_without_torch():
    code = "import sys, align.generate as g; g.Sampling(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
