"""The seam behind which a CPU's instructions stand: something else than Python callables fits.

A toy machine: one byte is one instruction, handlers begin at addresses, the stack is a list.
"""

import pytest

from mkrpc.instance.accounting import assert_books
from mkrpc.instance.execution import Progress
from mkrpc.instance.instructions import Cli, Eoi, Hlt, Int, Nop, Sti, WriteIcr
from mkrpc.link.frames import Writes
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed, init_assert, nmi

RING = fixed(0, 0xEA)
NOP, CLI, STI, HLT, SEND, EOI, IRET, JMP0, MARK, INT = range(10)
_INSTRUCTIONS = {
    NOP: Nop(),
    CLI: Cli(),
    STI: Sti(),
    HLT: Hlt(),
    SEND: WriteIcr(RING),
    EOI: Eoi(),
    INT: Int(0x80),
}


class ByteMachine:
    """An Execution whose program and handlers are bytes in one memory."""

    def __init__(self, cpu, code, vectors):
        self.cpu = cpu
        self.code = code
        self.vectors = vectors
        self.ip = 0
        self.stack = []
        self.marks = []
        self.running = True

    @property
    def busy(self):
        return self.running

    @property
    def runnable(self):
        return self.running and (self.code[self.ip] != SEND or self.cpu.may_write)

    def run(self):
        opcode = self.code[self.ip]
        self.ip += 1
        if opcode == IRET:
            self.ip, enabled = self.stack.pop()
            self.cpu.iret(interrupts_enabled=enabled)
        elif opcode == JMP0:
            self.ip = 0
        elif opcode == MARK:
            self.marks.append(self.ip - 1)
        else:
            self.cpu.perform(_INSTRUCTIONS[opcode])
        return Progress.TOUCHED_APIC if opcode in (SEND, EOI) else Progress.RAN

    def enter(self, vector, *, interrupts_enabled):
        self.stack.append((self.ip, interrupts_enabled))
        self.ip = self.vectors[vector]

    def reset(self):
        self.running = False


@pytest.fixture
def machine(kernel):
    def load(code, vectors):
        cpu = kernel.cpus[1]
        cpu.execution = ByteMachine(cpu, bytes(code), vectors)
        kernel.schedule(cpu)
        return cpu.execution

    return load


def test_machine_code_is_interrupted_and_goes_on_where_it_was(kernel, machine):
    cpu = kernel.cpus[1]
    it = machine([NOP, HLT, MARK, JMP0, MARK, EOI, IRET], {0x41: 4})
    assert kernel.advance(10) == 2
    assert cpu.activity == "halted"
    assert kernel.accept(1, fixed(1, 0x41)) is Outcome.DELIVERED
    assert kernel.accept(1, fixed(1, 0x41)) is Outcome.DELIVERED  # one in service, one pending
    kernel.advance(4)
    assert it.marks == [4, 4]
    kernel.advance(5)
    assert it.marks == [4, 4, 2]
    assert it.stack == []
    assert_books(kernel)


def test_its_icr_writes_nmis_and_inits_are_those_of_any_cpu(kernel, machine):
    it = machine([CLI, SEND, NOP, JMP0, MARK, IRET], {2: 4})
    kernel.advance(2)
    assert kernel.events == [Writes(1, 1, [RING])]
    kernel.accept(1, nmi(1))
    assert kernel.cpus[1].apic.nmi_in_service
    kernel.advance(2)
    assert (it.marks, kernel.cpus[1].apic.nmi_in_service) == ([4], False)
    assert not kernel.cpus[1].interrupts_enabled  # as it was before the NMI
    kernel.accept(1, init_assert(1))
    assert not it.running


def test_it_casts_an_interrupt_shadow_too(kernel, machine):
    it = machine([CLI, NOP, STI, MARK, HLT, MARK, EOI, IRET], {0x41: 6})
    kernel.advance(2)
    kernel.accept(1, fixed(1, 0x41))
    kernel.advance(2)
    assert it.marks == [3]
    assert it.ip == 6


def test_its_int_enters_a_handler_inside_the_shadow(kernel, machine):
    it = machine([CLI, NOP, STI, INT, HLT, MARK, EOI, IRET, MARK, IRET], {0x41: 5, 0x80: 8})
    kernel.advance(2)
    kernel.accept(1, fixed(1, 0x41))
    kernel.advance(2)
    assert (it.marks, it.ip, it.stack) == ([], 8, [(4, True)])
    kernel.advance(10)
    assert it.marks == [8, 5]
    assert_books(kernel)
