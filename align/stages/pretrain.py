"""A model from nothing: documents packed into rows, and our own loop over them."""

from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from transformers import AutoModelForCausalLM, PreTrainedModel, set_seed

from align.model import QwenMoeConfig, preset
from align.pretrain.loop import PretrainConfig, pretrain
from align.pretrain.packing import encode_documents, pack
from align.stages import tables
from align.stages.job import Job, Outcome, StageError
from align.stages.models import load_tokenizer, on_cpu, save_model


def run(job: Job) -> Outcome:
    tokenizer = load_tokenizer(job.path(job.config.tokenizer))
    documents = tables.read_table(job.path(job.config.corpus) / tables.DOCUMENTS)
    encoded, dropped = encode_documents(tokenizer, documents)
    settings = PretrainConfig(**job.config.args, seed=job.seed)
    rows = pack(encoded, job.config.seq_len, tokenizer.pad_token_id)
    model = _new_model(job, tokenizer)

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    history = pretrain(
        model,
        rows,
        settings,
        job.work,
        accelerator=Accelerator(cpu=on_cpu()),
        on_step=lambda step, total, loss, speed: job.progress(
            step, total, loss=loss, tokens_per_s=speed
        ),
    )
    facts = save_model(model, tokenizer, job.output) if job.is_main else {}
    job.write_curve(history)
    return Outcome(
        rows={"kept": len(encoded), "dropped": dropped, **rows.counts},
        metrics={
            "loss": sum(point["loss"] for point in history[-20:]) / len(history[-20:]),
            "parameters": sum(p.numel() for p in model.parameters()),
            "tokens": len(history) * settings.batch_rows * job.config.seq_len,
        },
        facts=facts,
    )


def _new_model(job: Job, tokenizer) -> PreTrainedModel:
    wanted = {"preset": "tiny", **job.config.architecture}
    known = QwenMoeConfig().to_dict()
    for key in wanted:
        if key != "preset" and key not in known:
            raise StageError(f"stage '{job.name}': architecture has no field '{key}'")
    config = preset(
        wanted.pop("preset"),
        **{
            "vocab_size": len(tokenizer),
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            **wanted,
        },
    )
    set_seed(job.seed)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
