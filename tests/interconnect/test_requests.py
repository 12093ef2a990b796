"""What clients ask for becomes ICR words; what cannot be is refused before it reaches the bus."""

import pytest

from mkrpc.errors import InvalidArgumentError, NotFoundError
from mkrpc.interconnect.requests import (
    cpu_action,
    icr_from_request,
    known_instance,
)
from mkrpc.v1 import control_pb2 as pb
from mkrpc.x86.icr import (
    ICR_RESERVED,
    DeliveryMode,
    DestinationMode,
    Shorthand,
    icr_word,
)

FIRST_CPUS = {1: 4, "web": 4}
SOMEBODY = pb.Destination(apic_id=3)


def first_cpu(name: int | str) -> int:
    """Instance 1, called web, whose first CPU has APIC id 4."""
    if name not in FIRST_CPUS:
        raise known_instance(name, {"web": 1})
    return FIRST_CPUS[name]


def word_of(to: pb.Destination, **fields) -> int:
    """The same word from either request: both have the same fields."""
    word = icr_from_request(pb.InjectRequest(destination=to, **fields), first_cpu)
    assert word == icr_from_request(pb.WriteIcrRequest(destination=to, **fields), first_cpu)
    return word


@pytest.mark.parametrize(
    ("to", "fields"),
    [
        (pb.Destination(apic_id=3), {"destination": 3}),
        (pb.Destination(apic_id=0), {"destination": 0}),
        (pb.Destination(apic_id=0xFFFF_FFFF), {"destination": 0xFFFF_FFFF}),
        (pb.Destination(instance_id=1), {"destination": 4}),
        (pb.Destination(instance_name="web"), {"destination": 4}),
        (
            pb.Destination(logical=0x10001),
            {"destination": 0x10001, "destination_mode": DestinationMode.LOGICAL},
        ),
        (pb.Destination(shorthand=pb.SHORTHAND_SELF), {"shorthand": Shorthand.SELF}),
        (
            pb.Destination(shorthand=pb.SHORTHAND_ALL_INCLUDING_SELF),
            {"shorthand": Shorthand.ALL_INCLUDING_SELF},
        ),
        (
            pb.Destination(shorthand=pb.SHORTHAND_ALL_EXCLUDING_SELF),
            {"shorthand": Shorthand.ALL_EXCLUDING_SELF},
        ),
    ],
    ids=str,
)
def test_every_form_of_a_destination(to, fields):
    assert word_of(to) == icr_word(vector=0xEA, **fields)


@pytest.mark.parametrize(
    ("vector", "mode", "sent", "delivery_mode"),
    [
        (0, pb.DELIVERY_MODE_UNSPECIFIED, 0xEA, DeliveryMode.FIXED),
        (0, pb.DELIVERY_MODE_FIXED, 0xEA, DeliveryMode.FIXED),
        (0, pb.DELIVERY_MODE_LOWEST_PRIORITY, 0xEA, DeliveryMode.LOWEST_PRIORITY),
        (0x31, pb.DELIVERY_MODE_FIXED, 0x31, DeliveryMode.FIXED),
        (255, pb.DELIVERY_MODE_FIXED, 255, DeliveryMode.FIXED),
        (0, pb.DELIVERY_MODE_SMI, 0, DeliveryMode.SMI),
        (0, pb.DELIVERY_MODE_NMI, 0, DeliveryMode.NMI),
        (0, pb.DELIVERY_MODE_INIT, 0, DeliveryMode.INIT),
        (0, pb.DELIVERY_MODE_STARTUP, 0, DeliveryMode.STARTUP),
        (8, pb.DELIVERY_MODE_STARTUP, 8, DeliveryMode.STARTUP),
    ],
)
def test_vector_0_stands_for_the_multikernel_vector_where_a_mode_carries_one(
    vector, mode, sent, delivery_mode
):
    expected = icr_word(vector=sent, destination=3, delivery_mode=delivery_mode)
    assert word_of(SOMEBODY, vector=vector, delivery_mode=mode) == expected


@pytest.mark.rule("R52")
def test_an_illegal_vector_is_the_apics_to_refuse():
    """What hardware answers is an outcome: only what is no vector at all is refused here."""
    assert word_of(SOMEBODY, vector=5) == icr_word(vector=5, destination=3)


@pytest.mark.parametrize("word", [0, 0xEA, 0x3_0000_00EA, 0x3_0000_0F05, 0xFFFF_FFFF_000C_DFFF])
def test_a_whole_icr_word_goes_as_it_is(word):
    assert word_of(pb.Destination(icr=word)) == word


@pytest.mark.parametrize(
    ("to", "fields", "says"),
    [
        (pb.Destination(), {}, "names no destination"),
        (pb.Destination(shorthand=pb.SHORTHAND_UNSPECIFIED), {}, "names no destination"),
        (pb.Destination(shorthand=99), {}, "names no destination"),
        (SOMEBODY, {"vector": 256}, "vector 256 is out of range"),
        (SOMEBODY, {"vector": 0xFFFF_FFFF}, "vector 4294967295 is out of range"),
        (SOMEBODY, {"vector": 300, "delivery_mode": pb.DELIVERY_MODE_NMI}, "vector 300"),
        (SOMEBODY, {"delivery_mode": 99}, "delivery mode 99 does not exist"),
        (pb.Destination(icr=0xEA), {"vector": 0xEA}, "a vector or mode beside it"),
        (
            pb.Destination(icr=0xEA),
            {"delivery_mode": pb.DELIVERY_MODE_FIXED},
            "a vector or mode beside it",
        ),
    ],
    ids=str,
)
def test_a_request_that_no_machine_could_serve_is_refused(to, fields, says):
    with pytest.raises(InvalidArgumentError, match=says) as refused:
        word_of(to, **fields)
    assert refused.value.advice


@pytest.mark.rule("R18")
@pytest.mark.parametrize("bit", [bit for bit in range(64) if ICR_RESERVED >> bit & 1])
def test_each_reserved_bit_of_a_whole_word_is_refused_by_its_value(bit):
    assert bit in (13, 16, 17, *range(20, 32))
    with pytest.raises(InvalidArgumentError, match=f"reserved bits {1 << bit:#x} are set"):
        word_of(pb.Destination(icr=0x3_0000_00EA | 1 << bit))


@pytest.mark.parametrize(
    ("to", "says"),
    [
        (pb.Destination(instance_id=7), "no instance 7"),
        (pb.Destination(instance_name="db"), "no instance 'db' is attached"),
    ],
)
def test_an_instance_that_is_not_there_is_refused_with_those_that_are(to, says):
    with pytest.raises(NotFoundError, match=says) as refused:
        word_of(to)
    assert refused.value.advice == "attached: 1 (web)"


def test_with_nobody_attached_the_advice_says_so():
    assert known_instance(1, {}).advice == "no instance is attached"
    assert known_instance("x", {"b": 2, "a": 10}).advice == "attached: 2 (b), 10 (a)"


@pytest.mark.parametrize(
    ("fields", "action"),
    [
        ({"interrupts_enabled": False}, "if=0"),
        ({"interrupts_enabled": True}, "if=1"),
        ({"halt": True}, "hlt=1"),
        ({"halt": False}, "hlt=0"),
        ({"tpr": 0}, "tpr=0"),
        ({"tpr": 255, "interrupts_enabled": True, "halt": True}, "tpr=255 if=1 hlt=1"),
    ],
)
def test_only_what_is_named_is_set_priority_first(fields, action):
    """TPR before IF: an interrupt that the new TPR holds back must not slip in between."""
    assert cpu_action(pb.SetCpuRequest(apic_id=1, **fields)) == action


@pytest.mark.parametrize(
    ("fields", "says"),
    [({}, "nothing to set"), ({"tpr": 256}, "task priority 256"), ({"tpr": 1 << 31}, "2147483648")],
)
def test_a_setting_that_cannot_be_is_refused(fields, says):
    with pytest.raises(InvalidArgumentError, match=says):
        cpu_action(pb.SetCpuRequest(apic_id=1, **fields))
