"""Programs and handlers of a script: what no instance could run is refused before any starts."""

import socket

import pytest

from mkrpc.errors import InvalidArgumentError
from mkrpc.host.launch import count_callables, write_callables
from mkrpc.topology import Topology

MACHINE = Topology.of(instances=2, cpus=2)


def program(cpu):
    yield


def test_they_are_counted_by_instance():
    found = count_callables(MACHINE, {0: program, 3: program}, {1: [program, program]})
    assert found == {0: 1, 1: 3}


@pytest.mark.parametrize(
    ("programs", "handlers", "says", "advice"),
    [
        ({4: program}, {}, "programs[4]: the topology has no APIC id 4", "it has 0, 1, 2, 3"),
        ({}, {2: [program]}, "handlers[2]: the topology has no instance 2", "it has 0, 1"),
        ({}, {"mk1": [program]}, "the topology has no instance 'mk1'", "it has 0, 1"),
        ({}, {1: program}, "handlers[1] is no list of handlers", "write handlers={1: [handler]}"),
    ],
)
def test_what_is_nobodys_is_refused(programs, handlers, says, advice):
    with pytest.raises(InvalidArgumentError) as refused:
        count_callables(MACHINE, programs, handlers)
    assert says in str(refused.value)
    assert refused.value.advice == advice


def test_of_many_ids_a_few_are_named():
    many = Topology.of(instances=20, cpus=1)
    with pytest.raises(InvalidArgumentError) as refused:
        count_callables(many, {99: program}, {})
    assert refused.value.advice.endswith("14, 15, ...")


def test_a_generator_in_place_of_its_function_cannot_be_copied(tmp_path):
    with pytest.raises(InvalidArgumentError, match="generator") as refused:
        write_callables(tmp_path, {0: program(None)}, {})
    assert refused.value.advice.startswith("give functions, not what they return")
    assert not list(tmp_path.iterdir())


def test_what_refers_to_a_socket_cannot_be_copied(tmp_path):
    with socket.socket() as held:

        def holds(cpu):
            held.fileno()
            yield

        with pytest.raises(InvalidArgumentError, match="socket"):
            write_callables(tmp_path, {}, {0: [holds]})
