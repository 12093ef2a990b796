"""Destinations and IPIs of a client: their form on the wire, and what cannot be."""

import pytest

from mkrpc.client import apic, icr, instance, logical, shorthand
from mkrpc.client.destination import DELIVERY_MODES, Ipi
from mkrpc.errors import InvalidArgumentError
from mkrpc.interconnect.requests import icr_from_request
from mkrpc.link.frames import NOBODY
from mkrpc.v1 import control_pb2 as pb


@pytest.mark.parametrize(
    ("destination", "field", "value"),
    [
        (apic(3), "apic_id", 3),
        (apic(NOBODY), "apic_id", NOBODY),
        (instance(2), "instance_id", 2),
        (instance("web"), "instance_name", "web"),
        (shorthand("self"), "shorthand", pb.SHORTHAND_SELF),
        (shorthand("all"), "shorthand", pb.SHORTHAND_ALL_INCLUDING_SELF),
        (shorthand("others"), "shorthand", pb.SHORTHAND_ALL_EXCLUDING_SELF),
        (logical(0x10001), "logical", 0x10001),
        (icr(0x3_0000_00EA), "icr", 0x3_0000_00EA),
    ],
)
def test_destinations_on_the_wire(destination, field, value):
    message = destination.to_pb()
    assert message.WhichOneof("to") == field
    assert getattr(message, field) == value


@pytest.mark.parametrize(
    ("make", "value"),
    [(apic, -1), (apic, 1 << 32), (instance, 512), (logical, 1 << 32), (icr, 1 << 64)],
)
def test_a_destination_out_of_range_is_refused(make, value):
    with pytest.raises(InvalidArgumentError, match="does not fit"):
        make(value)


@pytest.mark.parametrize(
    ("arguments", "vector", "mode"),
    [
        ({}, 0xEA, pb.DELIVERY_MODE_FIXED),
        ({"vector": 0x10}, 0x10, pb.DELIVERY_MODE_FIXED),
        ({"delivery_mode": "lowest"}, 0xEA, pb.DELIVERY_MODE_LOWEST_PRIORITY),
        ({"delivery_mode": "nmi"}, 0, pb.DELIVERY_MODE_NMI),
        ({"delivery_mode": "init"}, 0, pb.DELIVERY_MODE_INIT),
        ({"delivery_mode": "smi"}, 0, pb.DELIVERY_MODE_SMI),
        ({"delivery_mode": "sipi", "vector": 0}, 0, pb.DELIVERY_MODE_STARTUP),
    ],
)
def test_vector_and_mode_of_an_ipi(arguments, vector, mode):
    request = pb.InjectRequest(**Ipi(to=apic(1), **arguments).fields())
    assert (request.vector, request.delivery_mode, request.count) == (vector, mode, 1)


def test_a_raw_word_goes_without_vector_and_mode():
    request = pb.InjectRequest(**Ipi(to=icr(0xEA)).fields())
    assert (request.vector, request.delivery_mode) == (0, pb.DELIVERY_MODE_UNSPECIFIED)


@pytest.mark.rule("R52")
@pytest.mark.parametrize(
    "arguments",
    [
        {"vector": 15},
        {"vector": 0},
        {"vector": 256},
        {"vector": -1},
        {"vector": 15, "delivery_mode": "lowest"},
        {"vector": 2, "delivery_mode": "nmi"},
        {"delivery_mode": "sipi"},
        {"delivery_mode": "extint"},
        {"count": 0},
        {"count": 1_000_001},
        {"to": icr(0), "vector": 0xEA},
        {"to": icr(0), "delivery_mode": "fixed"},
    ],
)
def test_an_ipi_that_cannot_be_is_refused(arguments):
    with pytest.raises(InvalidArgumentError) as caught:
        Ipi(**({"to": apic(1)} | arguments))
    assert caught.value.advice


FIRST_CPUS = {2: 5, "web": 9}
ALL_FORMS = [
    *(
        {"to": to, "delivery_mode": mode, "vector": vector}
        for to in (
            apic(3),
            apic(NOBODY),
            instance(2),
            instance("web"),
            shorthand("self"),
            shorthand("all"),
            shorthand("others"),
            logical(0x10001),
        )
        for mode in (None, *DELIVERY_MODES)
        for vector in ([0, 0x31] if mode == "sipi" else [None])
    ),
    {"to": apic(3), "vector": 0x31},
    {"to": logical(1), "vector": 0xFF, "delivery_mode": "lowest"},
    {"to": icr(0x3_0000_45EA)},
    {"to": icr(0)},
]


@pytest.mark.parametrize("form", ALL_FORMS, ids=str)
def test_the_word_of_an_ipi_is_the_one_that_the_interconnect_makes_of_it(form):
    request = pb.InjectRequest(**Ipi(**form).fields())
    made = icr_from_request(request, FIRST_CPUS.__getitem__)
    assert Ipi(**form).word(FIRST_CPUS.__getitem__) == made


def test_a_raw_word_with_reserved_bits_is_refused_by_both():
    ipi = Ipi(to=icr(1 << 20 | 0xEA))
    with pytest.raises(InvalidArgumentError, match="reserved bits 0x100000") as here:
        ipi.word(FIRST_CPUS.__getitem__)
    with pytest.raises(InvalidArgumentError) as there:
        icr_from_request(pb.InjectRequest(**ipi.fields()), FIRST_CPUS.__getitem__)
    assert str(here.value) == str(there.value)
