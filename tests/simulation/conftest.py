"""Links that can be cut: real kernels, links and bus, and pipes between them that lose what they
hold, one side of which may learn of the break before the other, and out of which old frames come
late."""

from collections import Counter, defaultdict, deque
from typing import Any

import pytest

from mkrpc.errors import ProtocolError
from mkrpc.frame_codec import decode_down, decode_up, encode_down, encode_up
from mkrpc.instance.accounting import assert_books, whole_account
from mkrpc.instance.arrivals import Arrivals
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.kernel import Kernel, KernelConfig
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.session import Session
from mkrpc.link.frames import Legs
from mkrpc.trace import IcrWritten, LegEnded

CPUS = 2
INSTANCES = 3


class Witness(Attachment):
    """Notes every leg that its kernel is asked to apply, in order."""

    __slots__ = ("legs",)

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.legs: list[tuple[bytes, int, int]] = []
        self._arrivals = _Noted(kernel, self.legs)


class _Noted(Arrivals):
    __slots__ = ("_legs",)

    def __init__(self, kernel: Kernel, legs: list[tuple[bytes, int, int]]) -> None:
        super().__init__(kernel)
        self._legs = legs

    def apply(self, legs: Legs) -> None:
        self._legs += [(legs.source, n, cpu) for n, cpu in zip(legs.seqs, legs.cpus, strict=True)]
        super().apply(legs)


class Node:
    """One instance, its session, and what is on its way between them, as bytes."""

    def __init__(self, number: int, bus: ApicBus) -> None:
        self.bus = bus
        self.kernel = Kernel(
            KernelConfig(
                instance_id=number,
                name=f"kernel{number}",
                apic_ids=tuple(range(CPUS * number, CPUS * (number + 1))),
            ),
            incarnation=bytes([number + 1] * 16),
            now_us=lambda: 0,
        )
        self.attachment = Witness(self.kernel)
        self.session: Session | None = None
        self.up: deque[tuple[int, bytes]] = deque()
        self.down: deque[tuple[int, bytes]] = deque()
        self.late_up: list[tuple[int, bytes]] = []
        self.late_down: list[tuple[int, bytes]] = []
        self.late_hellos: list[bytes] = []
        self.reconnect("whole")

    def break_off(self, who_notices: str) -> None:
        """Everything on its way is lost to the link, and may still come late."""
        self.late_up += self.up
        self.late_down += self.down
        self.up.clear()
        self.down.clear()
        if who_notices != "bus":
            self.attachment.disconnected()
        if who_notices != "instance" and self.session is not None:
            self.bus.disconnect(self.session, self.session.generation)

    def reconnect(self, how: str) -> None:
        """``whole``, or the hello or the welcome is lost on its way."""
        self.break_off("instance")
        hello = encode_up(self.attachment.hello(1))
        if how == "hello lost":
            self.late_hellos.append(hello)
            return
        self.session = self.bus.attach(decode_up(hello))
        welcome = encode_down(self.bus.welcome(self.session))
        if how == "whole":
            self.attachment.welcome(decode_down(welcome))

    @property
    def linked(self) -> bool:
        """Whether both sides think that the same link stands."""
        session, attachment = self.session, self.attachment
        return (
            session is not None
            and (session.connected and attachment.connected)
            and session.generation == attachment.generation
        )

    def send_up(self) -> bool:
        frame = self.attachment.next_frame()
        if frame is not None:
            self.up.append((self.attachment.generation, encode_up(frame)))
        return frame is not None

    def send_down(self) -> bool:
        frame = self.bus.next_frame(self.session) if self.session is not None else None
        if frame is not None:
            self.down.append((self.session.generation, encode_down(frame)))
        return frame is not None

    def arrive_up(self, pipe: Any) -> bool:
        if not pipe or self.session is None:
            return False
        generation, frame = pipe.popleft() if isinstance(pipe, deque) else pipe.pop()
        self.bus.receive(self.session, decode_up(frame), generation)
        return True

    def arrive_down(self, pipe: Any) -> bool:
        if not pipe:
            return False
        generation, frame = pipe.popleft() if isinstance(pipe, deque) else pipe.pop()
        self.attachment.receive(decode_down(frame), generation)
        return True

    def arrive_late(self) -> None:
        """Old frames come out last first, which is worse than any network."""
        self.arrive_up(self.late_up)
        self.arrive_down(self.late_down)
        if self.late_hellos:
            hello = decode_up(self.late_hellos.pop())
            if self.session is not None and hello.generation < self.session.generation:
                with pytest.raises(ProtocolError, match="comes after link"):
                    self.bus.attach(hello)
            else:
                self.session = self.bus.attach(hello)  # its stream is gone: nobody is welcomed

    def exchange(self) -> bool:
        moved = [self.send_up(), self.send_down(), self.arrive_up(self.up)]
        return any([*moved, self.arrive_down(self.down), self.attachment.run(64) > 0])


class CutMachine:
    """Instances over links that may be cut, and everything that was said about their writes."""

    def __init__(self) -> None:
        self.written: Counter[tuple[bytes, int]] = Counter()
        self.ended: Counter[tuple[bytes, int, int]] = Counter()
        self.bus = ApicBus(epoch=1, policy=Policy.named("bare-metal"))
        self.bus.watch(self.see)
        self.nodes = [Node(number, self.bus) for number in range(INSTANCES)]
        self.seq = 1

    def see(self, event: Any) -> None:
        if isinstance(event, IcrWritten):
            self.written.update((event.source, event.seq + n) for n in range(event.count))
        elif isinstance(event, LegEnded):
            for n in range(event.count):
                self.ended[event.source, event.seq + n, event.apic_id] += 1

    def inject(self, word: int, count: int) -> None:
        self.bus.inject(
            client_id=b"c" * 16,
            first_seq=self.seq,
            word=word,
            count=count,
            resolved_below=1,
            on_done=lambda _: None,
        )
        self.seq += count

    def wait_until(self, now_us: int) -> None:
        """Time passes at the bus, which looks as often as it asks for."""
        while (due := self.bus.deadline_us) is not None and due < now_us:
            self.bus.advance(due)
        self.bus.advance(now_us)

    def heal(self) -> None:
        """Everybody comes back, and all moves until nothing moves."""
        for node in self.nodes:
            if not node.linked:
                node.reconnect("whole")
        moved = True
        while moved:
            moved = any([node.exchange() for node in self.nodes])  # noqa: C419 (all have a turn)

    def check(self) -> None:
        """Conservation, exactly once, order, and the mirror."""
        assert self.bus.balance() == []
        assert self.bus.in_flight() == 0
        assert set(self.written.values()) <= {1}
        assert set(self.ended.values()) <= {1}
        assert self.bus.totals().lost == 0
        assert {key[:2] for key in self.ended} == set(self.written)
        for node in self.nodes:
            seqs = defaultdict(list)
            own = Counter(seq for source, seq in self.written if source == node.kernel.incarnation)
            assert sorted(own) == list(range(1, node.kernel.source.written + 1))
            for source, seq, cpu in node.attachment.legs:
                seqs[source, cpu].append(seq)
            for numbers in seqs.values():
                assert numbers == sorted(set(numbers)), "applied once, in the order of the source"
            assert_books(node.kernel)
            _, mirrored = self.bus.mirrored(node.kernel.config.instance_id)
            assert mirrored == [whole_account(cpu) for cpu in node.kernel.cpus]


@pytest.fixture(scope="session")
def cut_machine() -> type[CutMachine]:
    """The class of machines whose links can be cut."""
    return CutMachine
