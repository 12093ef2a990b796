"""A host and an instance that waits for SIPI, by hand."""

from dataclasses import replace
from typing import Any

from mkrpc.interconnect.policy import Policy
from mkrpc.link.frames import CommandKind, CpuAccount, Reply
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode, decode

__all__ = ["Ward", "make_ward"]


class Ward:
    """The boot CPU of instance 1, APIC id 4: ``takes_sipi`` what it makes of a start-up IPI,
    ``comes_online`` whether it enables its APIC then. ``activity`` is as it says of itself."""

    def __init__(self, wire: Any, *, takes_sipi: Outcome, comes_online: bool) -> None:
        self.wire, self.comes_online, self.takes_sipi = wire, comes_online, takes_sipi
        self.activity = "wait-for-sipi"
        self.words: list[int] = []
        self.on_sipi = lambda: None
        boot = wire.peers[1].cpus[0]
        boot.accept = self.accept
        boot.account = self.account

    def accept(self, word: int) -> Outcome:
        self.words.append(word)
        if decode(word).delivery_mode is not DeliveryMode.STARTUP:
            return Outcome.DELIVERED
        if self.takes_sipi is not Outcome.DELIVERED:
            return self.takes_sipi
        if self.activity != "wait-for-sipi":
            return Outcome.REJECTED_NOT_WAITING_FOR_SIPI
        self.activity = "running"
        self.on_sipi()
        if self.comes_online:
            self.go_online(0)
        return Outcome.DELIVERED

    def go_online(self, cpu: int) -> None:
        spawn = self.wire.peers[1]
        spawn.events.append(replace(spawn.hello.cpus[cpu], software_enabled=True))

    def account(self) -> CpuAccount:
        return CpuAccount(
            cpu=0, irr=0, isr=0, tpr=0, ppr=0, interrupts_enabled=False,
            activity=self.activity, multikernel=0, vectors=[],
        )  # fmt: skip

    def drain(self) -> None:
        """Frames move, and the host's kernel does what it is told."""
        host = self.wire.peers[0]
        moved = True
        while moved:
            self.wire.settle()
            moved = bool(host.commands)
            self.obey()

    def obey(self) -> None:
        """The host's kernel writes what it is told to."""
        host = self.wire.peers[0]
        for command in host.commands:
            assert command.kind is CommandKind.WRITE_ICR
            host.write(command.word, count=command.count, command=command.number)
            host.replies.append(Reply(command=command.number, written=command.count))
        host.commands.clear()


def make_ward(
    machine: Any,
    *,
    takes_sipi: Outcome = Outcome.DELIVERED,
    comes_online: bool = True,
    policy: Policy | None = None,
) -> Ward:
    """A host with APIC id 0, and instance 1 with 4 and 5, which wait for SIPI."""
    wire = machine((0,), policy=policy)
    hello = wire.hello(1, (4, 5), waits_for_sipi=True)
    asleep = tuple(replace(cpu, software_enabled=False) for cpu in hello.cpus)
    wire.peers.append(type(wire.peers[0])(wire.bus, replace(hello, cpus=asleep)))
    return Ward(wire, takes_sipi=takes_sipi, comes_online=comes_online)
