"""Real processes ring each other: CAL, the ledger and the mirror agree with the model."""

import pytest

from mkrpc.client import apic, icr, instance, shorthand
from mkrpc.outcome import Outcome

pytestmark = pytest.mark.e2e


@pytest.mark.mk_topology(instances=4, cpus=2)
def test_cal_moves_only_where_and_as_much_as_the_model_says(
    mk_cluster, shell, read_cal, assert_mirrors
):
    client = mk_cluster.client
    expected = [[0, 0] for _ in range(4)]

    for _ in range(3):
        client.inject(to=apic(5))
    expected[2][1] += 3
    client.inject(to=apic(2), count=1000)
    expected[1][0] += 1000
    client.write_icr(0, to=shorthand("others"), count=100)
    for apic_id in range(1, 8):
        expected[apic_id // 2][apic_id % 2] += 100
    client.write_icr(3, to=shorthand("self"), count=5)
    expected[1][1] += 5
    client.inject(to=shorthand("all"))
    for apic_id in range(8):
        expected[apic_id // 2][apic_id % 2] += 1

    client.quiesce()
    assert [read_cal(mk_cluster, i) for i in range(4)] == expected
    assert_mirrors(mk_cluster)

    ledger = shell(mk_cluster).json("ledger")
    assert ledger["balanced"] is True
    assert ledger["totals"] == {
        "written": 3 + 1000 + 700 + 5 + 8,
        "delivered": 3 + 1000 + 700 + 5 + 8,
        "coalesced": 0,
        "rejected": 0,
        "lost": 0,
        "in_flight": 0,
    }
    for row in ledger["rows"]:
        ended = row["delivered"] + row["coalesced"] + row["rejected"] + row["lost"]
        assert row["written"] == ended + row["in_flight"]


@pytest.mark.parametrize("mode", ["x2apic", "xapic"])
def test_a_burst_merges_in_the_irr_while_interrupts_are_disabled(
    mk_cluster_factory, read_cal, assert_mirrors, mode
):
    """Rules R42 and R56: one pending per vector; design 3.6: an idle CPU takes every one."""
    cluster = mk_cluster_factory(mode=mode)
    client = cluster.client
    client.set_cpu(3, interrupts_enabled=False)
    held = client.inject(to=apic(3), count=1000)
    assert {leg.outcome: leg.count for leg in held.legs} == {
        Outcome.DELIVERED: 1,
        Outcome.COALESCED: 999,
    }
    assert read_cal(cluster, 1) == [0, 0]
    client.set_cpu(3, interrupts_enabled=True)
    assert read_cal(cluster, 1) == [0, 1]

    idle = client.inject(to=apic(3), count=1000)
    assert [(leg.outcome, leg.count) for leg in idle.legs] == [(Outcome.DELIVERED, 1000)]
    assert read_cal(cluster, 1) == [0, 1001]
    assert_mirrors(cluster)


def test_a_long_burst_passes_every_window_and_loses_nothing(mk_cluster, read_cal, assert_mirrors):
    client = mk_cluster.client
    result = client.write_icr(0, to=apic(2), count=20_000)
    assert [(leg.outcome, leg.count) for leg in result.legs] == [(Outcome.DELIVERED, 20_000)]
    client.inject(to=apic(2), count=20_000)
    assert read_cal(mk_cluster, 1) == [40_000, 0]
    assert_mirrors(mk_cluster)


@pytest.mark.parametrize(
    ("to", "outcome"),
    [
        (apic(99), Outcome.REJECTED_NO_SUCH_APIC),
        (icr(3 << 32 | 0x0F), Outcome.REJECTED_ILLEGAL_VECTOR),
        (icr(3 << 32 | 0x300), Outcome.REJECTED_RESERVED_MODE),
        (icr(3 << 32 | 0x608), Outcome.REJECTED_NOT_WAITING_FOR_SIPI),
        (icr(3 << 32 | 0x400), Outcome.DELIVERED),
        (instance("mk1"), Outcome.DELIVERED),
    ],
    ids=lambda value: getattr(value, "text", None),
)
def test_every_kind_of_leg_has_its_outcome(mk_cluster, assert_mirrors, to, outcome):
    result = mk_cluster.client.write_icr(0, to=to)
    assert [(leg.outcome, leg.count) for leg in result.legs] == [(outcome, 1)]
    assert_mirrors(mk_cluster)


def test_the_command_line_says_what_the_client_says(mk_cluster, shell):
    """The keys that scripts rely on (design, section 7)."""
    mkrpc = shell(mk_cluster)
    done = mkrpc.run("ipi", "--to", "2")
    assert (done.returncode, done.stdout.strip()) == (0, "apic 2 of instance 1: delivered")
    assert mkrpc.run("ipi", "--from", "0", "--to", "77").returncode == 1

    show = mkrpc.json("show")
    assert show["address"] == mk_cluster.address
    assert [(i["id"], i["name"], i["state"]) for i in show["instances"]] == [
        (0, "mk0", "active"),
        (1, "mk1", "active"),
    ]
    first = show["instances"][1]["cpus"][0]
    assert (first["apic_id"], first["mode"], first["irr"], first["isr"]) == (2, "x2apic", [], [])
    assert first["irq_stat"]["irq_call_count"] == 1
    assert len({i["incarnation"] for i in show["instances"]}) == 2

    assert "Multikernel interrupt" in mkrpc.run("dmesg", "mk1").stdout
    assert "CAL:          1          0" in mkrpc.run("interrupts", "mk1").stdout
    assert "IF" in mkrpc.run("cpu", "2").stdout.upper()
