"""Each instance's two ways to the interconnect, through proxies in a thread of their own."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mkrpc.chaos.links import Links
from mkrpc.chaos.plan import LinkMode
from mkrpc.transport.address import BEATS_SUFFIX, Address, parse

TIMEOUT_S = 20


def echo(listener: socket.socket) -> None:
    """Give back what comes, one connection after another, until the listener is closed."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            while data := connection.recv(4096):
                connection.sendall(data)


@pytest.fixture
def links(tmp_path: Path) -> Iterator[Links]:
    """Links of instances 0 and 1 to what gives back all that it gets, at both of its sockets."""
    where = Address(path=str(tmp_path / "s"))
    listeners, threads = [], []
    for path in (where.path, where.path + BEATS_SUFFIX):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        listeners.append(listener)
        threads.append(threading.Thread(target=echo, args=(listener,)))
        threads[-1].start()
    with Links(where, (0, 1)) as made:
        yield made
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(TIMEOUT_S)


def answers(address: str) -> bool:
    """Whether what is sent there comes back; waits for one or the other."""
    where = parse(address)
    try:
        with socket.create_connection((where.host, where.port), timeout=TIMEOUT_S) as connection:
            connection.sendall(b"x")
            return connection.recv(1) == b"x"
    except ConnectionError:
        return False


def test_every_instance_and_the_clients_have_a_way_of_their_own(links):
    ways = [links.client_address]
    for via in links.via.values():
        ways += [via.address, via.beats]
    assert len(set(ways)) == 5
    assert all(map(answers, ways))
    assert links.connections == 3, "beats are not counted"


def test_a_cut_is_that_of_one_instance_and_of_both_its_ways(links):
    links.apply(1, LinkMode("cut"))
    assert [answers(links.via[1].address), answers(links.via[1].beats)] == [False, False]
    assert answers(links.via[0].address)
    assert answers(links.client_address)
    links.heal(1)
    assert [answers(links.via[1].address), answers(links.via[1].beats)] == [True, True]


def test_the_link_of_the_clients_is_nobody_s(links):
    links.apply(None, LinkMode("cut"))
    assert not answers(links.client_address)
    assert answers(links.via[0].address)
    links.heal(None)
    assert answers(links.client_address)


@pytest.mark.parametrize(
    "mode",
    [LinkMode("late", ("up",), delay_s=0.01), LinkMode("slow", bytes_per_s=10_000)],
    ids=lambda mode: mode.how,
)
def test_a_link_that_is_late_or_slow_loses_nothing(links, mode):
    links.apply(0, mode)
    assert answers(links.via[0].address)
    assert answers(links.via[0].beats)
