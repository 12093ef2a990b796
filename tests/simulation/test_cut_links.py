"""Links that are cut anywhere: every write has one outcome, in order, whatever was on its way.

Design 3.2 to 3.4.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.instance.instructions import Cli, Sti, WriteIcr
from mkrpc.x86.icr import Shorthand, fixed, init_assert, shorthand_word, startup

CPUS = 2
INSTANCES = 3

words = st.one_of(
    st.builds(
        fixed, st.integers(0, CPUS * INSTANCES), st.sampled_from((0xEA, 0x41, 0x31, 0xFF, 5))
    ),
    st.sampled_from([init_assert(2), startup(2, 8), init_assert(5), startup(5, 8)]),
    st.sampled_from(
        [shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0xEA), shorthand_word(Shorthand.SELF, 0x41)]
    ),
)
node_numbers = st.integers(0, INSTANCES - 1)
steps = st.one_of(
    st.tuples(st.just("ring"), node_numbers, st.integers(0, CPUS - 1), words, st.integers(1, 5)),
    st.tuples(st.just("inject"), words.filter(lambda word: not word >> 18 & 3), st.just(3)),
    st.tuples(st.just("execute"), node_numbers, st.sampled_from((Cli(), Sti()))),
    st.tuples(st.sampled_from(("send_up", "send_down", "exchange", "arrive_late")), node_numbers),
    st.tuples(st.sampled_from(("up", "down")), node_numbers),
    st.tuples(st.just("cut"), node_numbers, st.sampled_from(("bus", "instance", "both"))),
    st.tuples(
        st.just("reconnect"), node_numbers, st.sampled_from(("whole", "hello lost", "welcome lost"))
    ),
)


def play(machine: Any, step: tuple[Any, ...]) -> None:
    match step:
        case "ring", number, cpu, word, count:
            for _ in range(count):
                machine.nodes[number].kernel.cpus[cpu].execute(WriteIcr(word))
        case "inject", word, count:
            machine.inject(word, count)
        case "execute", number, instruction:
            machine.nodes[number].kernel.cpus[0].execute(instruction)
        case "up", number:
            machine.nodes[number].arrive_up(machine.nodes[number].up)
        case "down", number:
            machine.nodes[number].arrive_down(machine.nodes[number].down)
        case "cut", number, who:
            machine.nodes[number].break_off(who)
        case "reconnect", number, how:
            machine.nodes[number].reconnect(how)
        case name, number:
            getattr(machine.nodes[number], name)()


@given(st.lists(steps, max_size=60))
def test_every_write_ends_once_in_order_and_the_mirror_is_right_whatever_is_cut(
    cut_machine: Any, script: list[tuple[Any, ...]]
) -> None:
    machine = cut_machine()
    for step in script:
        play(machine, step)
    machine.heal()
    machine.check()
    for node in machine.nodes:
        node.late_hellos.clear()
        while node.late_up or node.late_down:
            node.arrive_late()
    machine.heal()
    machine.check()


@pytest.mark.parametrize(
    ("reconnects", "period"),
    [(300, 1), (300, 2), (300, 5), pytest.param(10_000, 1, marks=pytest.mark.full)],
)
def test_forced_reconnects_in_mid_burst(cut_machine: Any, reconnects: int, period: int) -> None:
    """No gap, no duplicate, no reordering, however often the links break under load."""
    machine = cut_machine()
    word = shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0xEA)
    turn = 0
    while sum(node.session.generation for node in machine.nodes) < reconnects:
        turn += 1
        for number, node in enumerate(machine.nodes):
            node.kernel.cpus[turn % CPUS].execute(WriteIcr(word))
            node.exchange()
            node.exchange()
            if (turn + number) % period == 0:
                node.reconnect("whole")
                node.arrive_late()
    machine.heal()
    machine.check()
    assert machine.bus.totals().written == turn * INSTANCES * (CPUS * INSTANCES - 1)
