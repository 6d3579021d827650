"""The reading of TRL's config classes from source agrees with the classes themselves."""

import dataclasses

import pytest

from align.recipe import arguments


@pytest.mark.parametrize("name", ["SFTConfig", "DPOConfig", "RewardConfig", "GRPOConfig"])
def test_fields_read_from_source_are_the_imported_dataclass_fields(name):
    import trl

    real = {f.name for f in dataclasses.fields(getattr(trl, name)) if f.init}
    read = set(arguments.fields(name))
    assert real <= read
    assert all(hasattr(getattr(trl, name), extra) for extra in read - real)


def test_fields_of_our_own_pretraining_are_read_alike():
    from align.pretrain.loop import PretrainConfig

    assert set(arguments.fields("PretrainConfig")) == {
        f.name for f in dataclasses.fields(PretrainConfig)
    }


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("learning_rate", 1, True),
        ("learning_rate", "fast", False),
        ("bf16", True, True),
        ("bf16", 1, False),
        ("max_length", None, True),
        ("max_length", 1.5, False),
        ("loss_type", ["sigmoid", "sft"], True),
        ("model_init_kwargs", {"dtype": "bfloat16"}, True),
    ],
)
def test_values_are_held_against_the_annotation(name, value, accepted):
    assert (not arguments.problems("DPOConfig", {name: value})) is accepted


def test_arguments_that_the_runner_owns_are_refused():
    [(name, problem)] = arguments.problems("SFTConfig", {"output_dir": "x"})
    assert name == "output_dir"
    assert "runner" in problem


@pytest.mark.parametrize("name", ["shuffle_dataset", "reward_weights"])
def test_grpo_leaves_order_and_weights_to_the_stages_own_keys(name):
    """Set under `args`, they would undo `order: variance` and each reward's weight in silence."""
    [(_, problem)] = arguments.problems("GRPOConfig", {name: True})
    assert "is not yours to set here" in problem
    assert not arguments.problems("SFTConfig", {"shuffle_dataset": True})
