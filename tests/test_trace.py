"""The list of trace events is whole, and each can be read by people."""

import typing

from mkrpc import trace
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome


def test_every_event_has_a_kind_of_its_own() -> None:
    assert set(trace.KINDS) == set(typing.get_args(trace.TraceEvent))
    assert len(set(trace.KINDS.values())) == len(trace.KINDS)


def test_fields_are_text_for_people() -> None:
    event = trace.LegEnded(
        source=b"\xab" * 16,
        seq=7,
        count=2,
        apic_id=NOBODY,
        delivery_mode=0,
        vector=0xEA,
        outcome=Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED,
    )
    assert trace.kind(event) == "leg"
    assert trace.event_fields(event) == {
        "source": "ab" * 16,
        "seq": "7",
        "count": "2",
        "apic_id": "nobody",
        "delivery_mode": "fixed",
        "vector": "0xea",
        "outcome": "lost(target_dead, maybe_delivered)",
    }
    written = trace.IcrWritten(source=b"\x01" * 16, apic_id=4, seq=1, count=1, word=0x5_0000_00EA)
    assert trace.event_fields(written)["word"] == "0x00000005000000ea"
    assert trace.event_fields(written)["apic_id"] == "4"
    agent = trace.IcrWritten(source=b"\x01" * 16, apic_id=NOBODY, seq=1, count=1, word=0xEA)
    assert trace.event_fields(agent)["apic_id"] == "external"
