"""Programs and handlers in real processes: closures, ping-pong, oopses, panics, named entries."""

import textwrap

import pytest

from mkrpc.client import apic
from mkrpc.errors import MkrpcError
from mkrpc.instance.instructions import Hlt, Load, Store, WriteIcr
from mkrpc.outcome import Outcome
from mkrpc.topology import Topology
from mkrpc.x86.icr import fixed

pytestmark = pytest.mark.e2e

ROUNDS = 200
GO = 0x55


def log_of(cluster, instance_id: int) -> list[str]:
    """The texts of an instance's log, without the line of every multikernel interrupt."""
    texts = [record.text for record in cluster.client.log(instance_id).records]
    return [text for text in texts if text != "Multikernel interrupt"]


def wait_until_written(cluster, count: int) -> None:
    """Until so many ICR writes are in the books, and then at rest; or the test times out.

    A fence passes a program or a generator handler that is between two instructions, so that
    quiet alone does not mean that they are done.
    """
    while cluster.client.ledger().totals.written < count:
        continue
    cluster.client.quiesce()


def test_a_scripts_program_and_handler_run_with_what_they_closed_over(
    mk_cluster_factory, read_cal, assert_mirrors
):
    """Design, section 6: closures arrive as copies."""
    greeting, target, seen = "copied", fixed(2, 0xEA), []

    def program(cpu):
        cpu.printk(f"program on {cpu.apic_id}: {greeting}")
        for _ in range(3):
            yield WriteIcr(target)

    def handler(cpu):
        seen.append(cpu.apic_id)
        cpu.printk(f"handler on {cpu.apic_id}: {greeting}, call {len(seen)}")

    cluster = mk_cluster_factory(
        instances=2, cpus=2, programs={1: program}, handlers={1: [handler]}
    )
    # The program starts when instance 0 is attached, and instance 1 may come later than that.
    wait_until_written(cluster, 3)
    sent = cluster.client.ledger().totals
    assert sent.written == 3
    arrived = sent.delivered
    assert cluster.client.inject(to=apic(2)).all_arrived
    assert log_of(cluster, 0) == ["program on 1: copied"]
    expected = [f"handler on 2: copied, call {n}" for n in range(1, arrived + 2)]
    assert log_of(cluster, 1) == expected
    assert seen == [], "the instance has a copy"
    assert read_cal(cluster, 1) == [arrived + 1, 0]
    assert_mirrors(cluster)


def test_two_instances_ring_back_and_forth_until_they_have_had_enough(
    mk_cluster_factory, read_cal, assert_mirrors
):
    """Payloads go through shared memory, the interrupt is the doorbell (design, section 6)."""

    def ping_pong(own: int, peer: int):
        def handler(cpu):
            count = (yield Load(8 * own)) + 1
            yield Store(8 * own, count)
            if own == 1 or count <= ROUNDS:
                yield WriteIcr(fixed(peer, 0xEA))

        return handler

    def reader(cpu):
        while True:
            yield Hlt()
            counters = ((yield Load(0)), (yield Load(8)))
            cpu.printk(f"counters {counters}")

    cluster = mk_cluster_factory(
        instances=2,
        cpus=2,
        programs={1: reader},
        handlers={0: [ping_pong(0, 2)], 1: [ping_pong(1, 0)]},
    )
    client = cluster.client
    assert client.inject(to=apic(0)).all_arrived
    wait_until_written(cluster, 2 * ROUNDS + 1)
    # The serve, and one back for each: instance 0 has one more, and does not return the last.
    assert read_cal(cluster, 0) == [ROUNDS + 1, 0]
    assert read_cal(cluster, 1) == [ROUNDS, 0]
    assert client.inject(to=apic(1), vector=GO).all_arrived
    assert log_of(cluster, 0)[-1] == f"counters {(ROUNDS + 1, ROUNDS)}"
    ledger = client.ledger()
    assert ledger.totals.written == ledger.totals.delivered == 2 * ROUNDS + 2
    assert_mirrors(cluster)


def test_a_handler_that_raises_is_an_oops_and_the_instance_goes_on(
    mk_cluster_factory, shell, read_cal, assert_mirrors
):
    def broken(cpu):
        raise ValueError("no such bell")

    cluster = mk_cluster_factory(instances=2, cpus=1, handlers={1: [broken]})
    client = cluster.client
    assert client.inject(to=apic(1), count=2).all_arrived
    assert read_cal(cluster, 1) == [2]
    dmesg = shell(cluster).run("dmesg", "mk1").stdout
    assert "Oops: ValueError: no such bell [#1]" in dmesg
    assert "Oops: ValueError: no such bell [#2]" in dmesg
    assert "CPU: 0 APIC: 0x1 Comm: mk1 (interrupt 0xea)" in dmesg
    assert " broken " in dmesg, "the call trace names the handler"
    assert log_of(cluster, 0) == []
    assert {i.state for i in client.cluster().instances} == {"active"}
    assert_mirrors(cluster)


def test_panic_on_oops_fails_the_instance_and_show_says_why(
    mk_cluster_factory, shell, assert_mirrors, wait_for_state
):
    def broken(cpu):
        raise ValueError("no such bell")

    topology = Topology.from_dict(
        {"instances": [{"id": 0, "cpus": [0]}, {"id": 1, "cpus": [1], "panic_on_oops": True}]}
    )
    cluster = mk_cluster_factory(topology, handlers={1: [broken]})
    client = cluster.client
    last = client.inject(to=apic(1))
    assert [leg.outcome for leg in last.legs] == [Outcome.DELIVERED], "reported before it left"
    wait_for_state(client, 1, "failed")
    mkrpc = shell(cluster)
    host, failed = mkrpc.json("show")["instances"]
    assert (host["state"], failed["state"]) == ("active", "failed")
    assert "Kernel panic - not syncing: Fatal exception in interrupt" in failed["detail"]
    assert "(Oops: " in failed["detail"]
    assert "Fatal exception in interrupt" in mkrpc.run("show").stdout
    gone = client.inject(to=apic(1))
    assert [leg.outcome for leg in gone.legs] == [Outcome.REJECTED_NO_SUCH_APIC]
    assert client.inject(to=apic(0)).all_arrived
    assert_mirrors(cluster)


MODULE = """
from mkrpc.instance.instructions import Hlt, Nop


def watch(cpu):
    while True:
        yield Hlt()
        cpu.printk("woken")


class Bells:
    @staticmethod
    def count(cpu):
        cpu.printk("handled")
"""


@pytest.fixture
def bells_toml(tmp_path, monkeypatch):
    """A topology in TOML that names a program and a handler of a module on PYTHONPATH."""
    package = tmp_path / "belfry"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "bells.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    path = tmp_path / "bells.toml"
    path.write_text(
        textwrap.dedent("""
            [[instances]]
            id = 0
            cpus = [0]

            [[instances]]
            id = 1
            cpus = [1, 2]
            handlers = ["belfry.bells:Bells.count"]
            programs = [{ cpu = 1, entry = "belfry.bells:watch" }]
        """)
    )
    return path


def test_a_topology_in_toml_names_programs_and_handlers(
    mk_cluster_factory, bells_toml, assert_mirrors
):
    cluster = mk_cluster_factory(Topology.load(bells_toml))
    assert cluster.client.inject(to=apic(1)).all_arrived
    assert cluster.client.inject(to=apic(2)).all_arrived
    cluster.client.quiesce()
    assert log_of(cluster, 1) == ["handled", "handled", "woken"]
    assert_mirrors(cluster)


def test_a_module_that_raises_keeps_the_cluster_from_starting_and_says_so(
    mk_cluster_factory, bells_toml
):
    (bells_toml.parent / "belfry" / "bells.py").write_text("raise OSError('no rope')")
    with pytest.raises(MkrpcError, match=r"mk1: importing 'belfry\.bells'.*OSError: no rope"):
        mk_cluster_factory(Topology.load(bells_toml))
