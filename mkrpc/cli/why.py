"""``mkrpc why``: why an interrupt is pending, in service or on its way, or what became of it."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from mkrpc.cli.options import Number, cluster_options, connect, json_option
from mkrpc.cli.output import print_json

if TYPE_CHECKING:
    from mkrpc.client.books import LedgerParty
    from mkrpc.client.stalls import StallView
    from mkrpc.client.why import WhyAnswer

__all__ = ["stall_line", "why", "why_lines"]

_FEW_VECTORS = 8


@click.command(short_help="Say why an interrupt is not taken.")
@cluster_options
@click.argument("apic_id", type=Number(0, 0xFFFF_FFFE))
@click.argument("vector", type=Number(0, 0xFF, hexadecimal=True))
@json_option
def why(name: str, address: str | None, apic_id: int, vector: int, as_json: bool) -> None:
    """Say why VECTOR (as 0xea or 234) of the CPU with this APIC id is pending, in service or on
    its way, and since when; or that nothing is, and what became of the last ones.
    """
    with connect(name, address) as client:
        answer = client.why(apic_id, vector)
    if as_json:
        from mkrpc.cli.why_json import why_as_json

        print_json(why_as_json(answer, apic_id))
        return
    for line in why_lines(answer, apic_id):
        click.echo(line)


def why_lines(answer: "WhyAnswer", apic_id: int) -> Iterator[str]:
    """The answer for people."""
    yield from _cpu_lines(answer, apic_id)
    vector, core = answer.counts.vector, answer.core
    pending = core is not None and core.is_pending(vector)
    if pending:
        what = "an NMI has been latched" if vector == 2 else "its IRR bit has been set"
        yield f"vector {vector:#04x} is pending: {what}{_for(answer.pending_us)}"
        yield from (f"  {hold.text}" for hold in answer.holds)
        if core is not None and not core.interrupts_enabled and answer.enabled_us is not None:
            yield f"  IF has been 0 in every report for {_seconds(answer.enabled_us)}"
    if answer.service is not None:
        yield f"vector {vector:#04x} is in service{_for(answer.in_service_us)}"
        yield f"  {answer.service.text}"
    if answer.in_flight:
        yield from _in_flight_lines(answer)
    if not pending and answer.service is None and not answer.in_flight:
        yield f"nothing of vector {vector:#04x} is pending, in service or in flight"
        if core is not None and vector in core.handlers:
            yield "  its handler has written EOI and has not returned"
        if answer.delay:
            yield "  one that comes now would wait:"
            yield from (f"  {hold.text}" for hold in answer.delay)
    yield from _past_lines(answer)


def _cpu_lines(answer: "WhyAnswer", apic_id: int) -> Iterator[str]:
    who = f"APIC id {apic_id} is CPU {answer.cpu} of instance {answer.instance_id} ({answer.name})"
    if not answer.attached:
        yield f"{who}, which is not attached: {answer.detail}"
    elif answer.detail:
        yield f"{who}, which is {answer.detail}"
    else:
        yield who
    core = answer.core
    if core is None:
        yield "it has never reported anything"
        return
    age = _seconds(answer.told_age_us)
    told = {
        "instance": "as it says itself",
        "beat": f"as a thread of its process said {age} ago",
        "report": f"as last reported, {age} ago",
    }.get(answer.told_by, answer.told_by)
    if answer.attached and answer.unanswered and answer.unanswered != answer.detail:
        told += f"; {answer.unanswered}"
    yield (
        f"{core.activity}, IF {int(core.interrupts_enabled)}, TPR {core.tpr:#04x}, "
        f"PPR {core.ppr:#04x}, IRR {_vectors(core.irr)}, ISR {_vectors(core.isr)}: {told}"
    )


def _in_flight_lines(answer: "WhyAnswer") -> Iterator[str]:
    legs = sum(each.waiting + each.handed for each in answer.in_flight)
    yield f"{_legs(legs)} in flight, the oldest{_for(answer.in_flight[0].age_us)}"
    for each in answer.in_flight:
        places = []
        if each.handed:
            places.append(f"{each.handed} handed over and not answered")
        if each.waiting:
            places.append(f"{each.waiting} waiting in the queue")
        yield (
            f"  from {_party(each.source)}: {', '.join(places)}; the oldest is write "
            f"{each.first_seq}, {_seconds(each.age_us)} old"
        )
    if answer.legs_ahead:
        yield f"  {_legs(answer.legs_ahead)} to that instance went before"
    yield from (f"  {hold.text}" for hold in answer.delay)


def _past_lines(answer: "WhyAnswer") -> Iterator[str]:
    counts = answer.counts
    handled = answer.handled_us
    last = "never handled" if handled is None else f"last handled {_seconds(handled)} ago"
    by = "" if answer.told_by == "instance" else "as last reported: "
    yield (
        f"{by}delivered {counts.delivered}, coalesced {counts.coalesced}, "
        f"handled {counts.handled}, EOI {counts.eoi}, discarded {counts.discarded}; {last}"
    )
    if not answer.rows:
        yield "nobody has written to it"
    for row in answer.rows:
        outcomes = ", ".join(f"{outcome.text} {count}" for outcome, count in row.outcomes)
        assert row.destination is not None
        life = row.destination.identity
        earlier = "" if life == answer.incarnation else f" (to incarnation {life.hex()[:8]})"
        yield f"  from {_party(row.source)}{earlier}: {outcomes or 'no outcome yet'}"


def stall_line(stall: "StallView") -> str:
    """One stall of `mkrpc show` in a line."""
    what = {
        "pending": "pending",
        "in-service": "in service",
        "unanswered": f"{_legs(stall.count)} unanswered, the oldest",
    }.get(stall.kind, stall.kind)
    reasons = "; ".join(hold.text for hold in stall.holds)
    return (
        f"stalled: vector {stall.vector:#04x} at APIC id {stall.apic_id} of instance "
        f"{stall.instance_id} ({stall.name}), {what} for {_seconds(stall.age_us)}, "
        f"from {stall.sources}: {reasons}"
    )


def _party(party: "LedgerParty") -> str:
    who = party.name if party.instance_id is not None else f"a {party.name}"
    if party.instance_id is not None:
        who = f"instance {party.instance_id} ({party.name})"
        who += "" if party.apic_id is None else f" APIC id {party.apic_id}"
        return who
    return f"{who} ({party.identity.hex()[:8]})" if party.identity else who


def _legs(count: int) -> str:
    return "1 leg" if count == 1 else f"{count} legs"


def _seconds(age_us: int) -> str:
    return f"{age_us / 1e6:.1f} s"


def _for(age_us: int | None) -> str:
    return "" if age_us is None else f" for {_seconds(age_us)}"


def _vectors(register: int) -> str:
    found = [f"{vector:#04x}" for vector in range(register.bit_length()) if register >> vector & 1]
    more = [f"and {len(found) - _FEW_VECTORS} more"] if len(found) > _FEW_VECTORS else []
    return " ".join(_first(found) + more) or "empty"


def _first(found: Iterable[str]) -> list[str]:
    return list(found)[:_FEW_VECTORS]
