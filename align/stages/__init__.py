"""One file a stage kind: from input artifacts to one output artifact.

Each module has `run(job: Job) -> Outcome`, and writes its artifact's files into `job.output`.
"""
