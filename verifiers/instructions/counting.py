"""How a number found compares with the number asked for."""

LESS_THAN = "less than"
AT_LEAST = "at least"


def shortfall(found: int, relation: str, wanted: int, what: str) -> str:
    """What is wrong, or "" where `found` is less than / at least / exactly `wanted`."""
    is_followed = {
        LESS_THAN: found < wanted,
        AT_LEAST: found >= wanted,
        "exactly": found == wanted,
    }[relation]
    return "" if is_followed else f"{found} {what}, not {relation} {wanted}"
