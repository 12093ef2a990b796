"""The defects of message channels by name: channel, workload, and a seed that shows each."""

from collections.abc import Callable
from dataclasses import dataclass

from mkrpc.errors import NotFoundError
from mkrpc.simulation.messages import Report, Workload

__all__ = ["DEFECTS", "MessageDefect", "defect_named"]

_PLAIN = Workload()
_KILL = Workload(kill=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDefect:
    """``shows`` says whether a report has it; ``seed`` is one whose run does."""

    name: str
    channel: str
    text: str
    workload: Workload
    seed: int
    shows: Callable[[Report], bool]


DEFECTS = {
    defect.name: defect
    for defect in (
        MessageDefect(
            name="mailbox-overwrite",
            channel="mailbox",
            text="a second message overwrites one that nobody has read",
            workload=_PLAIN,
            seed=0,
            shows=lambda report: report.lost > 0,
        ),
        MessageDefect(
            name="mailbox-torn-read",
            channel="mailbox",
            text="what is read is half of one message and half of another",
            workload=_PLAIN,
            seed=0,
            shows=lambda report: report.torn > 0,
        ),
        MessageDefect(
            name="mailbox-read-twice",
            channel="mailbox",
            text="two doorbells find the same message",
            workload=_PLAIN,
            seed=0,
            shows=lambda report: report.doubled > 0,
        ),
        MessageDefect(
            name="mpsc-claimed-slot-skipped",
            channel="mpsc-ring",
            text="a slot that is claimed and not filled yet is skipped, its message lost",
            workload=_PLAIN,
            seed=9,
            shows=lambda report: report.lost > 0,
        ),
        MessageDefect(
            name="publish-flag-wedged",
            channel="publish-flag",
            text="a producer killed between claim and publish stops the ring for ever",
            workload=_KILL,
            seed=5,
            shows=lambda report: report.wedged > 0,
        ),
        MessageDefect(
            name="ikc-publishers-hang",
            channel="ikc",
            text="behind a producer killed between claim and publish nobody's send returns",
            workload=_KILL,
            seed=1,
            shows=lambda report: report.hung > 0 and report.wedged > 0,
        ),
    )
}


def defect_named(name: str) -> MessageDefect:
    """Raises NotFoundError, which names those that there are."""
    if name not in DEFECTS:
        raise NotFoundError(f"no defect {name!r}", advice=f"there are {', '.join(DEFECTS)}")
    return DEFECTS[name]
