"""Design 3.5: who is dead, hung, disconnected, slow or floods costs the others no interrupt.

Eight instances of real processes without any limit: a pair that rings each other, and all that can
be wrong with the others at once, a client that injects without a pause among it.
"""

import os
import signal
import threading
from pathlib import Path

import pytest

from mkrpc.client import Client, apic
from mkrpc.errors import MkrpcError
from mkrpc.instance.instructions import WriteIcr
from mkrpc.outcome import Outcome
from mkrpc.topology import Topology
from mkrpc.x86.icr import fixed

pytestmark = pytest.mark.e2e

PAIR, STORMING, SLOW, HUNG, DEAD = (0, 1), (2, 3, 4, 5), 6, 7, 8
ROUNDS = 20


def flood(cpu):
    """Rings whoever is hung, whoever is slow, whoever is dead, and the pair, as fast as it may."""
    words = [WriteIcr(fixed(target, 0x51)) for target in (HUNG, SLOW, DEAD, *PAIR)]
    number = 0
    while True:
        yield words[number % len(words)]
        number += 1


def ignore(cpu):
    """The flood's gate, on the pair and on whoever is slow."""
    import time

    from mkrpc.instance.instructions import Hlt

    def gate(cpu):
        cpu.apic_eoi()
        if cpu.apic_id == SLOW:
            time.sleep(0.002)  # what is tried: nothing here waits for it by the clock

    cpu.kernel.idt.install(0x51, "flood", gate)
    while True:
        yield Hlt()


def inject_without_pause(address: str, stop: threading.Event) -> None:
    with Client(address) as client:
        while not stop.is_set():
            try:
                client.inject(to=apic(SLOW), vector=0x51, count=500)
            except MkrpcError:
                continue


def test_a_pair_loses_nothing_to_all_that_can_be_wrong_with_the_others(
    mk_cluster_factory, wait_for_state
):
    flooding = dict.fromkeys(STORMING, flood)
    cluster = mk_cluster_factory(
        Topology.of(instances=9, cpus=1), programs=flooding | dict.fromkeys((*PAIR, SLOW), ignore)
    )
    client, pids = cluster.client, cluster.pids()
    os.kill(pids[DEAD], signal.SIGKILL)
    os.kill(pids[HUNG], signal.SIGSTOP)
    wait_for_state(client, DEAD, "failed")
    stop = threading.Event()
    injecting = threading.Thread(target=inject_without_pause, args=(cluster.address, stop))
    injecting.start()
    try:
        for number in range(ROUNDS):
            source, target = PAIR if number % 2 else PAIR[::-1]
            rung = client.write_icr(source, to=apic(target), count=100)
            assert [(leg.outcome, leg.count) for leg in rung.legs] == [(Outcome.DELIVERED, 100)]
    finally:
        stop.set()
        injecting.join()
    ledger = client.ledger()
    assert ledger.balanced, ledger.discrepancies
    between = [
        row
        for row in ledger.rows
        if row.source.instance_id in PAIR and row.vector != 0x51 and row.destination is not None
    ]
    assert sum(row.totals.delivered for row in between) == 100 * ROUNDS
    assert sum(row.totals.written for row in between) == 100 * ROUNDS
    flooded = sum(r.totals.written for r in ledger.rows if r.source.instance_id in STORMING)
    assert flooded > 100 * ROUNDS
    assert {client.find_instance(number).state for number in PAIR} == {"active"}
    log = Path(cluster.state_dir, "logs", "interconnect.log").read_text()
    assert "Traceback" not in log
