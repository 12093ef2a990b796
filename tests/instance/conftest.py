"""Kernels and links for the tests of this room: pure objects, on a clock that the test sets."""

from collections.abc import Callable
from typing import Any

import pytest

from mkrpc.instance.accounting import whole_account
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.kernel import Kernel, KernelConfig
from mkrpc.link.frames import DownFrame, Legs
from mkrpc.outcome import Outcome


class Clock:
    """Microseconds since boot, as the test says."""

    def __init__(self) -> None:
        self.now_us = 1_374_792

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_kernel(clock: Clock) -> Callable[..., Kernel]:
    """``make_kernel(cpus=2, **config)``; instance 1, so that no CPU is the boot processor."""

    def make(cpus: int = 2, memory: Any = None, **settings: Any) -> Kernel:
        settings = {"instance_id": 1, "name": "one", "apic_ids": tuple(range(cpus))} | settings
        return Kernel(
            KernelConfig(**settings), incarnation=b"\x01" * 16, now_us=clock, memory=memory
        )

    return make


@pytest.fixture
def kernel(make_kernel: Callable[..., Kernel]) -> Kernel:
    return make_kernel()


@pytest.fixture
def cpu(kernel: Kernel) -> Cpu:
    """The one that is rung."""
    return kernel.cpus[1]


@pytest.fixture
def order(kernel: Kernel) -> list[int]:
    """The vectors in the order in which handlers of CPU 1 ran; each ends with EOI."""
    ran: list[int] = []

    def note(cpu: Any) -> None:
        ran.append(cpu.vector)
        if cpu.vector != 2:
            cpu.apic_eoi()

    for vector in (2, *range(0x10, 0x100)):
        kernel.idt.install(vector, f"note_{vector:#x}", note)
    return ran


class Peer:
    """What the interconnect knows by frames alone: it numbers, acknowledges and adds up."""

    def __init__(self, attachment):
        self.attachment = attachment
        self.sent = self.received = self.legs = 0
        self.frames = []
        self.outcomes = {}
        self.applied = 0
        self.accounts = {}
        self.replies = []
        self.events = []

    def send(self, **content):
        self.sent += 1
        frame = DownFrame(frame=self.sent, ack=self.received, **content)
        self.attachment.receive(frame)
        return frame

    def send_legs(self, *legs, source=b"s" * 16):
        columns = Legs(source)
        for seq, word, cpu in legs:
            columns.seqs.append(seq)
            columns.words.append(word)
            columns.cpus.append(cpu)
        self.legs += len(legs)
        return self.send(legs=[columns])

    def drain(self):
        """Take all frames that there are now; acknowledge them."""
        taken = []
        while (frame := self.attachment.next_frame()) is not None:
            if frame.frame:
                assert frame.frame == self.received + 1
                self.received = frame.frame
            taken.append(frame)
            self.apply(frame)
            self.attachment.receive(DownFrame(frame=0, ack=self.received))
        if taken and taken[-1].frame:
            assert not taken[-1].more
        self.frames += taken
        return taken

    def apply(self, frame):
        self.events += frame.events
        for run in frame.outcomes:
            for number in range(run.first, run.first + run.count):
                assert number not in self.outcomes
                assert self.applied < number <= frame.applied
                self.outcomes[number] = run.outcome
        assert frame.applied >= self.applied
        self.applied = frame.applied
        for account in frame.accounts:
            known = self.accounts.setdefault(account.cpu, {"vectors": {}, "stats": {}})
            known["vectors"].update({row.vector: row for row in account.vectors})
            known["stats"].update(account.stats)
            known["head"] = (account.irr, account.isr, account.activity, account.multikernel)
        self.replies += frame.replies

    def all_outcomes(self):
        return [self.outcomes.get(n, Outcome.DELIVERED) for n in range(1, self.applied + 1)]

    def assert_mirror_is(self, kernel):
        for cpu in kernel.cpus:
            whole, known = whole_account(cpu), self.accounts[cpu.number]
            assert known["vectors"] == {row.vector: row for row in whole.vectors}
            assert known["stats"] == whole.stats
            assert known["head"] == (whole.irr, whole.isr, whole.activity, whole.multikernel)


@pytest.fixture
def peer(kernel):
    return Peer(Attachment(kernel))


@pytest.fixture(scope="session")
def new_peer():
    """``new_peer(kernel)``: a fresh link to a kernel."""
    return lambda kernel: Peer(Attachment(kernel))
