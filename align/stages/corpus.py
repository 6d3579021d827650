"""The corpus: problems worked and blurted, prose, and the prompts that later stages use."""

from align.pretrain.problems import KINDS, make_problems
from align.pretrain.prose import make_prose
from align.stages import tables
from align.stages.job import Job, Outcome


def run(job: Job) -> Outcome:
    wanted = job.config.problems
    problems = make_problems(
        wanted.kinds or list(KINDS),
        num_documents=wanted.documents,
        num_prompts=wanted.prompts,
        num_heldout=wanted.heldout,
        worked_share=wanted.worked,
        wrong_share=wanted.blurted_wrong,
        seed=job.seed,
    )
    job.progress(1, 2, "sources")
    prose = make_prose(
        max_characters=job.config.prose_characters,
        heldout_characters=job.config.prose_heldout_characters,
    )
    documents = problems.documents + prose.documents
    tables.write_table(job.output / tables.DOCUMENTS, documents)
    tables.write_table(job.output / tables.PROMPTS, problems.prompts)
    tables.write_table(job.output / tables.HELDOUT, problems.heldout)
    tables.write_table(job.output / tables.PROSE, prose.heldout)
    dropped = {f"problems: {k}": n for k, n in problems.counts.items()}
    dropped |= {f"prose: {k}": n for k, n in prose.counts.items()}
    return Outcome(
        rows={"kept": len(documents), "dropped": dropped},
        metrics={
            "problem_documents": len(problems.documents),
            "prose_documents": len(prose.documents),
            "prompts": len(problems.prompts),
            "heldout": len(problems.heldout),
        },
    )
