"""A recorded machine in one thread: the real bus and kernels, with journals in a folder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import recorded_programs

from mkrpc.instance.kernel import Kernel, KernelConfig
from mkrpc.instance.memory import SharedMemory
from mkrpc.instance.recording import RecordedAttachment, RecordedMemory, begin_recording
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.recording import RecordedBus
from mkrpc.interconnect.session import Session
from mkrpc.journal.recorder import Recording


class RecordedKernel:
    """One instance of the machine."""

    def __init__(
        self,
        machine: "RecordedMachine",
        number: int,
        *,
        incarnation: bytes,
        apic_ids: tuple[int, ...],
        programs: list[tuple[int, Callable[..., Any]]],
        handlers: list[Callable[..., Any]],
    ) -> None:
        config = KernelConfig(instance_id=number, name=f"mk{number}", apic_ids=apic_ids)
        memory = SharedMemory(machine.shared)
        recorder = begin_recording(
            machine.recording,
            config=config,
            incarnation=incarnation,
            memory=memory,
            programs=programs,
            handlers=handlers,
        )
        self.kernel = Kernel(
            config,
            incarnation=incarnation,
            now_us=recorder.clock(machine.tick),
            memory=RecordedMemory(memory, recorder.loaded),
        )
        for handler in handlers:
            self.kernel.register_handler(handler)
        for cpu, program in programs:
            self.kernel.start_program(cpu, program)
        self.attachment = RecordedAttachment(self.kernel, recorder)
        self.session: Session | None = None


class RecordedMachine:
    """Kernels of one CPU each, unless they are given others, that ring each other."""

    def __init__(self, folder: Path, **limits: int) -> None:
        self.recording = Recording(folder, **limits)
        self.shared = bytearray(4096)
        self.now_us = 1_000_000
        self.bus = RecordedBus(
            self.recording, epoch=7, policy=Policy.named("bare-metal"), arbitration="ppr"
        )
        self.kernels: list[RecordedKernel] = []
        self.closed = False

    def tick(self) -> int:
        """A clock that never stands still."""
        self.now_us += 1
        return self.now_us

    def boot(self, number: int, *, life: int = 1, **what: Any) -> RecordedKernel:
        booted = RecordedKernel(
            self,
            number,
            incarnation=bytes([number, life]) * 8,
            **({"apic_ids": (number,), "programs": [], "handlers": []} | what),
        )
        self.kernels.append(booted)
        self.connect(booted)
        return booted

    def connect(self, node: RecordedKernel) -> None:
        node.attachment.advance(self.tick())
        hello = node.attachment.hello(100 + node.kernel.config.instance_id)
        self.bus.advance(self.tick())
        node.session = self.bus.attach(hello)
        node.attachment.welcome(self.bus.welcome(node.session))

    def cut(self, node: RecordedKernel) -> None:
        """Its link breaks, and it comes back."""
        assert node.session is not None
        self.bus.disconnect(node.session, node.session.generation)
        node.attachment.disconnected()
        self.connect(node)

    def turn(self, budget: int = 3) -> bool:
        """Every kernel runs a little and is heard; whether anything happened."""
        happened = False
        for node in self.kernels:
            session = node.session
            if session is None or not session.alive:
                continue
            node.attachment.advance(self.tick())
            happened |= node.attachment.run(budget) > 0
            while (up := node.attachment.next_frame()) is not None:
                happened = True
                self.bus.advance(self.tick())
                self.bus.hear(session, up.beat, session.generation)
                self.bus.receive(session, up, session.generation)
        for node in self.kernels:
            session = node.session
            if session is None or not session.alive:
                continue
            while (down := self.bus.next_frame(session)) is not None:
                happened = True
                node.attachment.advance(self.tick())
                node.attachment.receive(down, node.attachment.generation)
        if self.bus.unmade:
            happened = True
            self.bus.go_on()
        return happened

    def settle(self) -> None:
        while self.turn():
            pass

    def close(self) -> None:
        """Every process ends as it should."""
        if not self.closed:
            self.closed = True
            for node in self.kernels:
                node.attachment.close()
            self.bus.close()


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Callable[..., RecordedMachine]]:
    """``recorded(**limits)``: a machine that records into ``tmp_path``."""
    made: list[RecordedMachine] = []

    def make(**limits: int) -> RecordedMachine:
        made.append(RecordedMachine(tmp_path, **limits))
        return made[-1]

    yield make
    for machine in made:
        machine.close()


@pytest.fixture
def ringing(recorded: Callable[..., RecordedMachine]) -> RecordedMachine:
    """Two kernels that ring each other by the programs of a topology, half way through."""
    machine = recorded()
    for number in (0, 1):
        machine.boot(
            number,
            programs=[(0, recorded_programs.ring_the_other)],
            handlers=[recorded_programs.take_note],
        )
    for _ in range(10):
        machine.turn()
    return machine
