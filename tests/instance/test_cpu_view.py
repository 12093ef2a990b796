"""The view of a CPU shows what its registers hide: errors that no write of ESR has latched."""

from mkrpc.instance.accounting import view_of
from mkrpc.instance.instructions import WriteRegister
from mkrpc.instance.kernel import Kernel
from mkrpc.x86.icr import fixed
from mkrpc.x86.registers import Register

RECEIVED_ILLEGAL_VECTOR = 1 << 6


def test_a_pending_error_shows_apart_from_esr_until_esr_is_written(kernel: Kernel) -> None:
    cpu = kernel.cpus[1]

    def shown() -> tuple[int, int]:
        registers = view_of(cpu).registers
        return registers["ESR"], registers["DIAG_ESR_PENDING"]

    assert shown() == (0, 0)
    kernel.accept(1, fixed(1, 5))
    assert shown() == (0, RECEIVED_ILLEGAL_VECTOR)
    assert shown() == (0, RECEIVED_ILLEGAL_VECTOR), "looking latches nothing"
    cpu.execute(WriteRegister(Register.ESR, 0))
    assert shown() == (RECEIVED_ILLEGAL_VECTOR, 0)
