"""LOCK CMPXCHG (SDM vol. 3, 8.1.2): compares, stores and drains in one step."""

import pytest

from mkrpc.instance.instructions import Cmpxchg, Nop, Store
from mkrpc.instance.memory import PageFault, SharedMemory


@pytest.fixture
def memory():
    return SharedMemory(bytearray(64))


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize(("expected", "left"), [(5, 9), (6, 5)])
def test_it_stores_if_what_it_expects_is_there_and_says_what_was(
    make_kernel, memory, size, expected, left
):
    memory.store(8, 5, size)
    cpu = make_kernel(memory=memory).cpus[0]
    assert cpu.perform(Cmpxchg(8, expected, 9, size)) == 5
    assert memory.load(8, size) == left
    assert memory.load(16, 8) == 0


def test_its_own_store_waits_in_no_store_buffer(make_kernel, memory):
    kernel = make_kernel(memory=memory, store_buffer=8)

    def program(cpu):
        yield Store(0, 7)
        yield Cmpxchg(8, 0, 1)
        while True:
            yield Nop()

    kernel.start_program(0, program)
    kernel.advance(2)
    assert (memory.load(0, 8), memory.load(8, 8)) == (7, 1)


def test_of_two_cpus_that_claim_at_a_time_one_succeeds(make_kernel, memory):
    kernel = make_kernel(memory=memory)
    results = []

    def program(cpu):
        results.append((yield Cmpxchg(0, 0, cpu.number + 1)))

    kernel.start_program(0, program)
    kernel.start_program(1, program)
    kernel.advance(100)
    assert results == [0, memory.load(0, 8)]


@pytest.mark.parametrize("address", [1, 64, -8])
def test_it_faults_as_a_load_does(make_kernel, memory, address):
    with pytest.raises(PageFault):
        make_kernel(memory=memory).cpus[0].perform(Cmpxchg(address, 0, 1))


def test_without_memory_it_faults(make_kernel):
    with pytest.raises(PageFault):
        make_kernel().cpus[0].perform(Cmpxchg(0, 0, 1))
