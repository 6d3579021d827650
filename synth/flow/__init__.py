"""The engine of synthesis: rows go through a method in windows, and no request is asked twice.

store       answers and executions on disk, under a key of all that decides them
item        a row on its way, and where it comes from
window      what a method works with: generate, judge, verify, compute, reject, keep
stream      windows side by side, results in the order of the rows
templates   prompts as versioned text files
structured  answers that must follow a JSON schema
source_key  what a Python callable says, whatever its comments
"""
