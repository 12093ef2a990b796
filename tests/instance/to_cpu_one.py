"""Words for CPU 1 of the kernel of this room (APIC id 1), and how it holds what they bring."""

from mkrpc.instance.instructions import Cli
from mkrpc.x86.icr import DeliveryMode, fixed, icr_word, init_assert, nmi, startup

SMI = icr_word(delivery_mode=DeliveryMode.SMI, destination=1)
NMI, INIT, SIPI = nmi(1), init_assert(1), startup(1, 8)
LOW, HIGH = fixed(1, 0x41), fixed(1, 0x91)


def hold(cpu):
    """Nothing is taken until the window opens: what arrives is simultaneously pending."""
    cpu.execute(Cli())
