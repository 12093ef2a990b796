"""What an instance has been asked and owes an answer to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mkrpc.interconnect.tally import Tally
from mkrpc.link.frames import Command, Reply

if TYPE_CHECKING:
    from mkrpc.interconnect.session import Session

__all__ = ["Asked"]


@dataclass(slots=True, eq=False)
class Asked:
    """A command that an instance owes an answer.

    ``tally`` is set for WRITE_ICR: it counts the writes that bear the command's number, and
    ``on_resolved`` is called as they are resolved. ``replied``: the answer has come. ``cpus``: how
    many numbers the instance was known to have when it was asked.
    """

    session: "Session"
    command: Command
    on_reply: Callable[[Reply], None]
    tally: Tally | None = None
    on_resolved: Callable[[], None] = lambda: None
    replied: bool = False
    cpus: int = 0

    def __post_init__(self) -> None:
        self.cpus = len(self.session.addresses)

    def count_written(self, count: int) -> None:
        """Writes that bear the command's number have come in."""
        assert self.tally is not None
        self.tally.written += count

    def count_resolved(self, count: int) -> None:
        """Some of them have all their outcomes."""
        assert self.tally is not None
        self.tally.resolved += count
        self.on_resolved()
