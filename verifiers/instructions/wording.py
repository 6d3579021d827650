"""Constraints on the response as a whole: how it starts and ends, its parts, its punctuation."""


def two_responses(response: str) -> str:
    """Two different responses with `******` between them; only the ends may be empty."""
    parts = [part.strip() for part in response.split("******")]
    if "" in parts[1:-1]:
        return "an empty response between two separators ******"
    responses = [part for part in parts if part]
    if len(responses) != 2:
        return f"{len(responses)} responses between ******, not 2"
    return "the two responses are the same" if responses[0] == responses[1] else ""


def repeat_prompt(response: str, *, prompt_to_repeat: str) -> str:
    """The response starts with the request, without regard to case."""
    prompt = prompt_to_repeat.strip().lower()
    return "" if response.strip().lower().startswith(prompt) else "does not start with the request"


def end_checker(response: str, *, end_phrase: str) -> str:
    """Case, and double quotes around the response, do not count."""
    phrase = end_phrase.strip().lower()
    if response.strip().strip('"').lower().endswith(phrase):
        return ""
    return f"does not end with {end_phrase!r}"


def quotation(response: str) -> str:
    text = response.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        return ""
    return "not in double quotation marks"


def no_comma(response: str) -> str:
    commas = response.count(",")
    return f"{commas} commas" if commas else ""
