"""All checkers, each a promise: what they found wrong, a line each, from the evidence alone."""

from collections.abc import Callable, Mapping

from mkrpc.chaos.checkers.books import books, clients, growth, known, mirrors
from mkrpc.chaos.checkers.causes import endings, losses, refusals
from mkrpc.chaos.checkers.handlers import accounts_of_handlers, handled_once, order, writes
from mkrpc.chaos.evidence import Evidence

__all__ = ["CHECKERS", "Checker", "check_all"]

Checker = Callable[[Evidence], list[str]]

CHECKERS: Mapping[str, Checker] = {
    "books": books,
    "losses": losses,
    "refusals": refusals,
    "handled once": handled_once,
    "order": order,
    "handlers": accounts_of_handlers,
    "writes": writes,
    "clients": clients,
    "mirrors": mirrors,
    "endings": endings,
    "growth": growth,
    "evidence": known,
}
"""By the name under which a report has their findings."""


def check_all(evidence: Evidence) -> dict[str, list[str]]:
    """What each found; an empty list is what one wants."""
    return {name: checker(evidence) for name, checker in CHECKERS.items()}
