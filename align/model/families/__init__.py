"""The generations of Qwen: what each one is, and in which sizes it was published.

A file a generation, to be read side by side: `FIELDS` is all that sets it apart in
`QwenConfig` or `QwenMoeConfig`, `SIZES` what sets its models apart from one another.
"""
