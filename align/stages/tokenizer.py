"""A byte-level BPE tokenizer with Qwen's pre-tokenisation and control tokens."""

from align.pretrain.tokenizer import document_texts, train_tokenizer
from align.stages import tables
from align.stages.job import Job, Outcome
from align.stages.models import token_facts


def run(job: Job) -> Outcome:
    documents = tables.read_table(job.path(job.config.corpus) / tables.DOCUMENTS)
    tokenizer = train_tokenizer(document_texts(documents), job.config.vocab_size)
    tokenizer.save_pretrained(job.output)
    return Outcome(
        rows={"kept": len(documents), "dropped": {}},
        metrics={"vocab_size": len(tokenizer)},
        facts=token_facts(tokenizer),
    )
