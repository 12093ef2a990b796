"""Programs of instances that talk, found by name."""

from errno import ENODEV, ENOSPC

from mkrpc.instance.instructions import Nop

USER = 0x4000


def tell(cpu, target: int, text: str):
    """Send until there is room, and somebody to ring."""
    ipi = cpu.kernel.multikernel
    while (result := (yield from ipi.send_ipi_data(target, text.encode(), USER))) != 0:
        assert result in (-ENOSPC, -ENODEV), result
        yield Nop()


def answer_everybody(cpu):
    """Whoever says something is told so."""

    def note(cpu, delivery, _ctx):
        cpu.printk(f"{delivery.sender} says {delivery.data.decode()}")
        yield from tell(cpu, delivery.sender, f"instance {delivery.sender} was heard")

    assert cpu.kernel.multikernel.register_handler(USER, note) == 0
    yield Nop()


def call_the_host(cpu):
    """Say something to the host, which never heard of this instance; print what it answers."""

    def note(cpu, delivery, _ctx):
        cpu.printk(f"{delivery.sender} says {delivery.data.decode()}")

    assert cpu.kernel.multikernel.register_handler(USER, note) == 0
    yield from tell(cpu, 0, "here I am")


def listen(cpu):
    """Print what comes."""

    def note(cpu, delivery, _ctx):
        cpu.printk(f"{delivery.sender} says {delivery.data.decode()}")

    assert cpu.kernel.multikernel.register_handler(USER, note) == 0
    yield Nop()
