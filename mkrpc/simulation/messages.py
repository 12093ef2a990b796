"""One workload of messages over one channel, on real kernels, interleaved by a seed.

Some children send numbered messages to instance 0. At every tick the seed chooses who goes on: one
kernel executes one instruction, or the links move what is ready. Every load and store of a channel
is an instruction, so any two accesses to shared memory may change their order; the doorbell is an
ICR write with vector 0xEA that travels through the interconnect and merges in the receiver's IRR.
A child may be killed in the middle of it. In the end everybody alive sends once more, to see
whether the channel still moves.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from itertools import repeat
from typing import TYPE_CHECKING, Any, Protocol

from mkrpc.errors import InvalidArgumentError
from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Nop
from mkrpc.instance.kernel import KernelConfig
from mkrpc.instance.memory import SharedMemory
from mkrpc.instance.multikernel.channel import Channel, Delivery, padded
from mkrpc.instance.multikernel.ipi import MultikernelIpi
from mkrpc.limits import MAX_STORE_BUFFER
from mkrpc.simulation.machine import Machine

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = [
    "IPI_TYPE",
    "MAX_MESSAGES",
    "MAX_SENDERS",
    "QUIET_TICKS",
    "Chance",
    "MessageRun",
    "Report",
    "Workload",
    "run_messages",
]

MAX_SENDERS = 15
"""Children of one run."""

MAX_MESSAGES = 1000
"""Messages of each."""

QUIET_TICKS = 500
"""For each kernel: ticks without a message sent or received after which no more is expected."""

IPI_TYPE = 0x4000
"""MK_MSG_USER."""

_LEAST_BYTES = 16
_NOP = Nop()


class Chance(Protocol):
    """What a run draws from."""

    def randrange(self, stop: int, /) -> int:
        """0 to ``stop`` - 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """``senders`` children send ``messages`` of ``size`` bytes each; with ``kill`` one of them dies
    at an instruction of its own that the seed draws.

    ``link_every``: one tick in so many moves the links, on the average; the later doorbells come,
    the more of them merge. ``gap``: instructions between two messages of a sender.
    ``store_buffer``: as in KernelConfig, of every kernel; 0: each store is visible at once. Raises
    InvalidArgumentError beyond MAX_SENDERS, MAX_MESSAGES, 16 to 256 bytes, 2 to 1000 ticks, 0 to
    1000 instructions, MAX_STORE_BUFFER.
    """

    senders: int = 3
    messages: int = 6
    size: int = 40
    kill: bool = False
    link_every: int = 6
    gap: int = 10
    store_buffer: int = 0

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("senders", 1, MAX_SENDERS),
            ("messages", 1, MAX_MESSAGES),
            ("size", _LEAST_BYTES, 256),
            ("link_every", 2, 1000),
            ("gap", 0, 1000),
            ("store_buffer", 0, MAX_STORE_BUFFER),
        ):
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise InvalidArgumentError(f"{name} {value} is out of range: {lowest} to {highest}")


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of the messages of one run, or of several added together.

    ``sent``: the send was a success. ``received``: of those, how many arrived at least once.
    ``lost``: will never arrive, though the channel still moves; ``held``: lie in a channel that
    moves no more. ``torn``: arrivals that are no message anybody sent. ``doubled``: arrivals more
    than one of a message. ``refused``: sends that were told the channel is full, and tried again.
    ``hung``: senders that never came to an end. ``wedged``: runs in which a sender that lives could
    not get a message through in the end. ``killed``: runs in which a sender died. ``doorbells``:
    ICR writes; ``interrupts``: runs of their handler. ``latencies``: how often it was so many
    ticks from the first attempt to send a message to its handler. The messages that ask in the end
    whether the channel still moves are counted nowhere.
    """

    channel: str
    runs: int = 1
    sent: int = 0
    received: int = 0
    lost: int = 0
    held: int = 0
    torn: int = 0
    doubled: int = 0
    refused: int = 0
    hung: int = 0
    wedged: int = 0
    killed: int = 0
    doorbells: int = 0
    interrupts: int = 0
    ticks: int = 0
    latencies: Counter[int] = field(default_factory=Counter)

    @property
    def flawless(self) -> bool:
        """Nothing lost, held, torn or doubled; nobody hung, nothing wedged."""
        flaws = (self.lost, self.held, self.torn, self.doubled, self.hung, self.wedged)
        return not any(flaws)

    @property
    def messages_per_doorbell(self) -> float | None:
        """Received; None without doorbells."""
        return self.received / self.doorbells if self.doorbells else None

    @property
    def coalescing_ratio(self) -> float | None:
        """Share of doorbells that had no interrupt of their own; None without doorbells."""
        return 1 - self.interrupts / self.doorbells if self.doorbells else None

    def latency(self, share: float) -> int | None:
        """The latency that ``share`` of the messages (0 to 1) does not exceed."""
        left = share * self.latencies.total()
        for ticks, count in sorted(self.latencies.items()):
            left -= count
            if left <= 0:
                return ticks
        return None

    def add(self, other: "Report") -> None:
        """Take in another run over the same channel."""
        for each in fields(self):
            if each.name != "channel":
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def as_dict(self) -> dict[str, object]:
        """For JSON: counts and ratios, and of the latencies median, 99th percentile, highest."""
        names = (each.name for each in fields(self) if each.name != "latencies")
        return {name: getattr(self, name) for name in names} | {
            "messages_per_doorbell": self.messages_per_doorbell,
            "coalescing_ratio": self.coalescing_ratio,
            "latency_p50": self.latency(0.5),
            "latency_p99": self.latency(0.99),
            "latency_max": self.latency(1),
        }


class MessageRun:
    """One run. ``make_channel`` is a class of channels, or anything that is called like one.

    :meth:`run` raises InvalidArgumentError for a channel whose code raises.
    """

    def __init__(
        self, make_channel: Callable[..., Channel], workload: Workload, chance: Chance
    ) -> None:
        self.workload = workload
        self._chance = chance
        instances = range(workload.senders + 1)
        room = padded(workload.size)
        ends = [make_channel(instances, own=own, max_data=room) for own in instances]
        self.machine = Machine(
            [
                KernelConfig(
                    instance_id=n, name=f"mk{n}", apic_ids=(n,), store_buffer=workload.store_buffer
                )
                for n in instances
            ],
            memory=SharedMemory(bytearray(max(8, padded(ends[0].memory_bytes)))),
        )
        doorbells = {n: n for n in instances}
        self.ends = [
            MultikernelIpi(self.machine.kernels[n], ends[n], doorbells=doorbells) for n in instances
        ]
        assert self.ends[0].register_handler(IPI_TYPE, self._arrived) == 0
        self.report = Report(channel=ends[0].name)
        self._began: dict[bytes, int] = {}  # attempts
        self._sent: set[bytes] = set()
        self._arrived_times: dict[bytes, int] = {}
        self._busy: set[int] = set()
        self._moved_at = 0

    def run(self) -> Report:
        """To its end."""
        report, workload = self.report, self.workload
        victim = -1
        if workload.kill:
            victim = 1 + self._chance.randrange(workload.senders)
        receiver = self.machine.kernels[0]
        if not self._rings:
            receiver.start_program(0, self._poller)
        for number in range(1, workload.senders + 1):
            self._start(number, 0, workload.messages)
        self._go_on(victim)
        report.hung = len(self._busy)
        report.doorbells = sum(end.rung for end in self.ends)
        report.interrupts = self.ends[0].interrupts
        sent, latencies, refused = set(self._sent), report.latencies.copy(), report.refused
        report.wedged = int(not self._still_moves())
        # What the last messages brought along with them still counts as received, but late.
        report.latencies = latencies
        report.refused = refused
        report.sent = len(sent)
        report.received = len(sent & self._arrived_times.keys())
        missing = report.sent - report.received
        report.held, report.lost = (missing, 0) if report.wedged else (0, missing)
        self._check_oopses()
        return report

    def _check_oopses(self) -> None:
        for kernel in self.machine.kernels.values():
            if kernel.oops_count:
                records = [record.text for record in kernel.log.since(0)]
                oops = next(text for text in records if text.startswith("Oops: "))
                raise InvalidArgumentError(
                    f"channel {self.report.channel} raised in {kernel.config.name}: {oops}",
                    advice="a channel raises nothing: it returns a negative errno",
                )

    def _still_moves(self) -> bool:
        """Does one more message of everybody alive arrive, one after the other?"""
        last = self.workload.messages
        alive = [number for number in self.machine.kernels if number]
        for number in alive:
            if number in self._busy:
                return False
            self._start(number, last, last + 1)
            self._go_on(-1)
            if self._payload(number, last) not in self._arrived_times:
                return False
        return True

    @property
    def _rings(self) -> bool:
        channel = self.ends[0].channel
        assert channel is not None, "every end has one"
        return channel.doorbell

    def _start(self, number: int, first: int, last: int) -> None:
        def sender(cpu: "Cpu") -> Body:
            for index in range(first, last):
                yield from self._send(number, index)
                yield from repeat(_NOP, self.workload.gap)
            self._busy.discard(number)
            self._moved_at = self.report.ticks

        self._busy.add(number)
        self.machine.kernels[number].start_program(0, sender)

    def _send(self, number: int, index: int) -> Body:
        payload = self._payload(number, index)
        self._began[payload] = self.report.ticks
        while (yield from self.ends[number].send_ipi_data(0, payload, IPI_TYPE)):
            self.report.refused += 1
            yield Nop()
        self._sent.add(payload)
        self._moved_at = self.report.ticks

    def _payload(self, number: int, index: int) -> bytes:
        """Every word of it tells which message it belongs to."""
        word = (number << 16 | index).to_bytes(4, "little")
        return (word * (self.workload.size // 4 + 1))[: self.workload.size]

    def _arrived(self, _cpu: "Cpu", delivery: Delivery, _ctx: Any) -> None:
        began = self._began.get(delivery.data)
        self._moved_at = self.report.ticks
        if began is None:
            self.report.torn += 1
        elif delivery.data in self._arrived_times:
            self.report.doubled += 1
        else:
            self._arrived_times[delivery.data] = self.report.ticks
            self.report.latencies[self.report.ticks - began] += 1

    def _poller(self, cpu: "Cpu") -> Body:
        while True:
            if not (yield from self.ends[0].receive(cpu, 1)):
                yield Nop()

    def _go_on(self, victim: int) -> None:
        """Until nothing moves, or nothing has come of it for QUIET_TICKS of each kernel."""
        machine, chance, report = self.machine, self._chance, self.report
        kernels = list(machine.kernels.items())
        quiet = QUIET_TICKS * len(kernels)
        # Roughly what one at work needs whom nobody disturbs.
        left = 1 + chance.randrange(self._steps_of_one()) if victim > 0 else 0
        self._moved_at = report.ticks
        while report.ticks - self._moved_at <= (quiet if self._busy else QUIET_TICKS):
            report.ticks += 1
            ready = [item for item in kernels if item[1].runnable]
            if not ready or not chance.randrange(self.workload.link_every):
                if not machine.exchange() and not ready:
                    return
                continue
            number, kernel = ready[chance.randrange(len(ready))]
            kernel.advance(1)
            if number == victim:
                left -= 1
                if not left:
                    self._kill(victim)
                    del kernels[victim]

    def _kill(self, victim: int) -> None:
        self.machine.crash(victim)
        self._busy.discard(victim)
        self.report.killed += 1

    def _steps_of_one(self) -> int:
        return self.workload.messages * (18 + self.workload.size // 8 + self.workload.gap)


def run_messages(
    make_channel: Callable[..., Channel],
    seed: int,
    make_chance: Callable[[int], Chance],
    workload: Workload,
) -> Report:
    """One run; the same seed, channel and workload are the same run."""
    return MessageRun(make_channel, workload, make_chance(seed)).run()
