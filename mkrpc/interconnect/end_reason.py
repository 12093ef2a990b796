"""Why an incarnation ended, as it is kept and told: the words may be its own."""

__all__ = ["MAX_REASON", "end_reason"]

MAX_REASON = 200
"""Characters of the reason of an end that are kept; what is over is cut off."""


def end_reason(text: str) -> str:
    """One printable line of :data:`MAX_REASON` characters at most."""
    line = text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"
    return "".join(each if each.isprintable() else "?" for each in line)
