"""Any run of the machine in one thread: the books balance and the mirror is right at rest.

The delivery law (design 3.1) and the mirror (3.4), whatever is rung, executed, delayed or killed.
Longer runs, and more of them, with ``--full``.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkrpc.instance.accounting import assert_books
from mkrpc.instance.instructions import Cli, Eoi, Hlt, Nop, SelfIpi, Sti, WriteIcr, WriteTpr
from mkrpc.instance.kernel import KernelConfig
from mkrpc.interconnect.policy import Policy
from mkrpc.simulation.machine import Machine
from mkrpc.x86.icr import (
    DeliveryMode,
    DestinationMode,
    Shorthand,
    fixed,
    icr_word,
    init_assert,
    nmi,
    shorthand_word,
    startup,
)

APIC_IDS = {0: (0, 1), 1: (2, 3), 2: (4,)}
"""Three kernels and their CPUs; 9 is nobody's."""
TARGETS = (0, 1, 2, 3, 4, 9)

words = st.one_of(
    st.builds(fixed, st.sampled_from(TARGETS), st.sampled_from((0xEA, 0x41, 0x31, 0xFF, 5))),
    st.builds(
        icr_word,
        vector=st.sampled_from((0xEA, 0x41)),
        destination=st.sampled_from((0x1, 0x3, 0xF, 0x1_0001)),
        delivery_mode=st.sampled_from((DeliveryMode.FIXED, DeliveryMode.LOWEST_PRIORITY)),
        destination_mode=st.just(DestinationMode.LOGICAL),
    ),
    st.sampled_from([make(to) for make in (nmi, init_assert) for to in TARGETS]),
    st.builds(startup, st.sampled_from(TARGETS), st.just(8)),
)
to_all = shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA)
to_others = shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0xEA)
instructions = st.one_of(
    st.sampled_from(
        [Cli(), Sti(), Nop(), Hlt(), Eoi(), SelfIpi(0x41), SelfIpi(5), WriteIcr(to_others)]
    ),
    st.builds(WriteTpr, st.sampled_from((0, 0x40, 0xF0))),
    st.builds(WriteIcr, words),
)
step = st.one_of(
    st.tuples(st.just("inject"), st.one_of(words, st.just(to_all)), st.sampled_from((1, 3, 5000))),
    st.tuples(st.just("execute"), st.sampled_from(TARGETS[:-1]), instructions),
    st.tuples(st.just("exchange")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("crash"), st.sampled_from(tuple(APIC_IDS))),
    st.tuples(st.just("boot"), st.sampled_from(tuple(APIC_IDS))),
)


def config(instance_id: int) -> KernelConfig:
    return KernelConfig(
        instance_id=instance_id, name=f"mk{instance_id}", apic_ids=APIC_IDS[instance_id]
    )


class Run:
    """A machine and what may be done to it; what cannot be done at the moment is passed over."""

    def __init__(self, policy: str) -> None:
        self.machine = Machine(
            [config(instance_id) for instance_id in APIC_IDS], policy=Policy.named(policy)
        )
        self.tallies: list[Any] = []

    def inject(self, word: int, count: int) -> None:
        self.tallies.append(self.machine.inject(word, count))

    def execute(self, apic_id: int, instruction: Any) -> None:
        owner = next(i for i, ids in APIC_IDS.items() if apic_id in ids)
        if owner in self.machine.kernels:
            cpu = self.machine.cpu(apic_id)
            if not (cpu.wait_for_sipi or cpu.halted):
                cpu.execute(instruction)

    def exchange(self) -> None:
        self.machine.exchange()

    def settle(self) -> None:
        self.machine.settle()
        self.check()

    def crash(self, instance_id: int) -> None:
        if instance_id in self.machine.kernels:
            self.machine.crash(instance_id)

    def boot(self, instance_id: int) -> None:
        if instance_id not in self.machine.kernels:
            self.machine.boot(config(instance_id))

    def check(self) -> None:
        """At rest: every leg has its end, nothing is in flight, and the mirror is the instance."""
        bus = self.machine.bus
        assert bus.balance() == []
        assert bus.in_flight() == 0
        assert all(tally.done for tally in self.tallies)
        for instance_id, kernel in self.machine.kernels.items():
            assert_books(kernel)
            _, mirrored = bus.mirrored(instance_id)
            for cpu, account in zip(kernel.cpus, mirrored, strict=True):
                own = {vector: n for vector, n in enumerate(cpu.books.delivered) if n}
                assert {v.vector: v.delivered for v in account.vectors if v.delivered} == own
                assert (account.irr, account.isr) == (cpu.apic.irr, cpu.apic.isr)


def any_run(shortest: int, longest: int) -> Callable[[str], None]:
    # Without a shortest one hypothesis would hardly try runs of more than a dozen steps.
    @given(steps=st.lists(step, min_size=shortest, max_size=longest))
    def run_any(policy: str, steps: list[tuple[Any, ...]]) -> None:
        run = Run(policy)
        for name, *operands in steps:
            getattr(run, name)(*operands)
        run.settle()

    return run_any


@pytest.mark.parametrize("policy", ["bare-metal", "filtered"])
def test_the_books_balance_and_the_mirror_is_right_after_any_run(policy: str) -> None:
    settings(max_examples=settings().max_examples // 2)(any_run(10, 40))(policy)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("policy", ["bare-metal", "filtered"])
def test_the_same_after_any_long_run(policy: str) -> None:
    settings(max_examples=settings().max_examples // 4)(any_run(100, 300))(policy)
