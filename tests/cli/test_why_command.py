"""``mkrpc why``, and the stalls of ``mkrpc show``: what a person reads."""

import json

import pytest

from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2

LIFE = bytes(range(16))
SECOND_US = 1_000_000


def core(**changes):
    values = {
        "cpu": 1,
        "interrupts_enabled": True,
        "activity": "idle",
        "mode": types_pb2.APIC_MODE_X2APIC,
        "known": True,
    }
    return types_pb2.CoreState(**(values | changes))


def answer(**changes):
    values = {
        "instance_id": 3,
        "name": "web",
        "incarnation": LIFE,
        "cpu": 1,
        "attached": True,
        "core": core(),
        "told_by": "instance",
        "counts": types_pb2.VectorCount(vector=0xEA, delivered=4, handled=4, eoi=4),
    }
    return pb.WhyResponse(**(values | changes))


def row(*outcomes, life=LIFE):
    return pb.LedgerRow(
        source=pb.LedgerParty(instance_id=0, name="host", identity=bytes(16)),
        destination=pb.LedgerParty(instance_id=3, name="web", identity=life, apic_id=7),
        delivery_mode="fixed",
        vector=0xEA,
        outcomes=[pb.OutcomeCount(outcome=outcome, count=n) for outcome, n in outcomes],
    )


def shown(run, peer, response, vector="0xea"):
    peer.will("Why", response)
    result = run("why", "7", vector, "--address", peer.address)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


@pytest.mark.parametrize("vector", ["0xea", "234", "0xEA"])
def test_a_vector_is_given_in_either_base(run, peer, vector):
    shown(run, peer, answer(), vector)
    assert (peer.requests[-1].apic_id, peer.requests[-1].vector) == (7, 0xEA)


@pytest.mark.parametrize("arguments", [("7", "256"), ("7", "ten"), ("-1", "0xea"), ("7",)])
def test_what_is_no_cpu_or_vector_is_refused_at_once(run, arguments):
    assert run("why", *arguments).exit_code == 2


def test_nothing_that_waits_is_said_with_what_became_of_the_last_ones(run, peer):
    rows = [
        row((types_pb2.OUTCOME_DELIVERED, 4), (types_pb2.OUTCOME_REJECTED_SOFTWARE_DISABLED, 2)),
        row((types_pb2.OUTCOME_LOST_TARGET_DEAD, 9), life=b"\xab" * 16),
    ]
    assert shown(run, peer, answer(handled_us=12_340_000, rows=rows)) == [
        "APIC id 7 is CPU 1 of instance 3 (web)",
        "idle, IF 1, TPR 0x00, PPR 0x00, IRR empty, ISR empty: as it says itself",
        "nothing of vector 0xea is pending, in service or in flight",
        "delivered 4, coalesced 0, handled 4, EOI 4, discarded 0; last handled 12.3 s ago",
        "  from instance 0 (host): delivered 4, rejected(software_disabled) 2",
        "  from instance 0 (host) (to incarnation abababab): lost(target_dead) 9",
    ]


def test_what_is_pending_is_said_with_its_age_and_its_reasons(run, peer):
    irr = (1 << 0xEA).to_bytes(32, "little")
    holds = [pb.Hold(kind="if-clear", text="IF = 0: x"), pb.Hold(kind="tpr", text="TPR y")]
    response = answer(
        core=core(irr=irr, interrupts_enabled=False, activity="running"),
        holds=holds,
        pending_us=6 * SECOND_US,
        enabled_us=7 * SECOND_US,
    )
    lines = shown(run, peer, response)
    assert lines[2:6] == [
        "vector 0xea is pending: its IRR bit has been set for 6.0 s",
        "  IF = 0: x",
        "  TPR y",
        "  IF has been 0 in every report for 7.0 s",
    ]


def test_what_is_in_service_and_in_flight_is_said_of_an_instance_that_hangs(run, peer):
    isr = (1 << 0xEA).to_bytes(32, "little")
    source = pb.LedgerParty(instance_id=0, name="host", identity=bytes(16), apic_id=0)
    client = pb.LedgerParty(name="client", identity=b"\xcd" * 16)
    response = answer(
        core=core(isr=isr, interrupts_enabled=False, activity="running", handlers=[0xEA]),
        told_by="beat",
        told_age_us=400_000,
        unanswered="it has not answered within 1 s",
        service=pb.Hold(kind="isr", vector=0xEA, text="ISR bit 0xea: z"),
        in_flight=[
            pb.InFlightLegs(source=source, first_seq=8, handed=2, waiting=1, age_us=5_500_000),
            pb.InFlightLegs(source=client, first_seq=1, waiting=1, age_us=300_000),
        ],
        delay=[pb.Hold(kind="loop", text="the event loop is held")],
        legs_ahead=3,
    )
    assert shown(run, peer, response)[1:11] == [
        "running, IF 0, TPR 0x00, PPR 0x00, IRR empty, ISR 0xea: as a thread of its process said "
        "0.4 s ago; it has not answered within 1 s",
        "vector 0xea is in service",
        "  ISR bit 0xea: z",
        "4 legs in flight, the oldest for 5.5 s",
        "  from instance 0 (host) APIC id 0: 2 handed over and not answered, 1 waiting in the "
        "queue; the oldest is write 8, 5.5 s old",
        "  from a client (cdcdcdcd): 1 waiting in the queue; the oldest is write 1, 0.3 s old",
        "  3 legs to that instance went before",
        "  the event loop is held",
        "as last reported: delivered 4, coalesced 0, handled 4, EOI 4, discarded 0; never handled",
        "nobody has written to it",
    ]


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        (
            {"attached": False, "detail": "killed", "unanswered": "killed"},
            "APIC id 7 is CPU 1 of instance 3 (web), which is not attached: killed",
        ),
        (
            {"detail": "silent for 2.0 s", "unanswered": "silent for 2.0 s"},
            "APIC id 7 is CPU 1 of instance 3 (web), which is silent for 2.0 s",
        ),
    ],
)
def test_an_instance_that_cannot_answer_is_said_so_and_its_last_report_is_told(
    run, peer, changes, first
):
    response = answer(told_by="report", told_age_us=3 * SECOND_US, **changes)
    lines = shown(run, peer, response)
    assert lines[0] == first
    assert lines[1].endswith(": as last reported, 3.0 s ago")


def test_as_json_it_has_everything(run, peer):
    peer.will("Why", answer(rows=[row((types_pb2.OUTCOME_DELIVERED, 4))]))
    result = json.loads(run("why", "7", "0xea", "--json", "--address", peer.address).stdout)
    assert (result["apic_id"], result["vector"], result["pending"]) == (7, 0xEA, False)
    assert result["ages_us"] == {"pending": None, "in_service": None, "handled": None, "if": None}
    assert result["core"]["mode"] == "x2apic"
    assert result["rows"][0]["outcomes"] == {"delivered": 4}


def test_show_has_a_line_for_each_stall(run, peer, two_instances):
    cluster = pb.GetClusterResponse()
    cluster.CopyFrom(two_instances)
    cluster.stalls.add(
        kind="pending",
        instance_id=1,
        name="web",
        incarnation=LIFE,
        apic_id=7,
        vector=0xEA,
        sources="one of a, b",
        count=1,
        age_us=6_100_000,
        holds=[pb.Hold(kind="if-clear", text="IF = 0: x"), pb.Hold(kind="tpr", text="TPR y")],
        reports=1,
    )
    peer.will("GetCluster", cluster)
    lines = run("show", "--address", peer.address).stdout.splitlines()
    assert (
        "stalled: vector 0xea at APIC id 7 of instance 1 (web), pending for 6.1 s, "
        "from one of a, b: IF = 0: x; TPR y" in lines
    )
    peer.will("GetCluster", cluster)
    (stall,) = json.loads(run("show", "--json", "--address", peer.address).stdout)["stalls"]
    assert (stall["kind"], stall["apic_id"], stall["source"]) == ("pending", 7, None)
    assert [hold["kind"] for hold in stall["holds"]] == ["if-clear", "tpr"]
