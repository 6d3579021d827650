"""Tables for the pages that benchmarks write."""


def table(rows: list[list[str]]) -> str:
    """Markdown; the first row is the head."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *body])
