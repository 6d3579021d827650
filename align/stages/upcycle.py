"""A mixture of experts from a dense model, to be trained on."""

from align.model import load
from align.model.upcycle import active_parameters, copies, upcycle, upcycled_config
from align.stages.job import Job, Outcome, StageError
from align.stages.models import load_tokenizer, save_model


def run(job: Job) -> Outcome:
    config, source = job.config, job.path(job.config.model)
    dense = load(source)
    if dense.config.model_type != "align_qwen":
        raise StageError(f"stage '{job.name}': '{config.model}' is a mixture of experts already")
    fields = {name: getattr(config, name) for name in type(config).ARCHITECTURE}
    mixture = upcycle(
        dense,
        upcycled_config(dense.config, **fields),
        reinitialised=config.reinitialised,
        seed=job.seed,
    )
    facts = save_model(mixture, load_tokenizer(source), job.output) if job.is_main else {}
    return Outcome(
        metrics={
            "parameters": sum(weight.numel() for weight in mixture.parameters()),
            "active_parameters": active_parameters(mixture),
            "copies": copies(
                dense.config.intermediate_size,
                config.num_experts,
                config.moe_intermediate_size,
                config.shared_expert_intermediate_size,
            ),
        },
        facts=facts,
    )
