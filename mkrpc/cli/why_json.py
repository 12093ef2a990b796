"""The JSON forms of `mkrpc why` and of stalls. Scripts rely on these keys: add, never rename."""

from collections.abc import Iterable
from dataclasses import asdict

from mkrpc.cli.as_json import Json, mode_text, party_as_json, row_as_json, vectors_of
from mkrpc.client.stalls import HoldView, StallView
from mkrpc.client.why import WhyAnswer
from mkrpc.x86.pending import CoreState

__all__ = ["stall_as_json", "why_as_json"]


def why_as_json(answer: WhyAnswer, apic_id: int) -> Json:
    """``mkrpc why --json``. Ages are microseconds; null for what is not so or never was."""
    vector, core = answer.counts.vector, answer.core
    return {
        "apic_id": apic_id,
        "vector": vector,
        "instance_id": answer.instance_id,
        "name": answer.name,
        "incarnation": answer.incarnation.hex(),
        "cpu": answer.cpu,
        "attached": answer.attached,
        "detail": answer.detail,
        "told_by": answer.told_by,
        "told_age_us": answer.told_age_us,
        "where": answer.where,
        "unanswered": answer.unanswered,
        "core": None if core is None else _core(core),
        "pending": core is not None and core.is_pending(vector),
        "holds": _holds(answer.holds),
        "in_service": answer.service is not None,
        "service": None if answer.service is None else asdict(answer.service),
        "ages_us": {
            "pending": answer.pending_us,
            "in_service": answer.in_service_us,
            "handled": answer.handled_us,
            "if": answer.enabled_us,
        },
        "in_flight": [
            {
                "source": party_as_json(legs.source),
                "first_seq": legs.first_seq,
                "waiting": legs.waiting,
                "handed": legs.handed,
                "age_us": legs.age_us,
            }
            for legs in answer.in_flight
        ],
        "legs_ahead": answer.legs_ahead,
        "delay": _holds(answer.delay),
        "counts": asdict(answer.counts),
        "rows": [row_as_json(row) for row in answer.rows],
    }


def stall_as_json(stall: StallView) -> Json:
    """One of the ``stalls`` of ``mkrpc show --json``."""
    return asdict(stall) | {
        "incarnation": stall.incarnation.hex(),
        "source": stall.source.hex() or None,
        "holds": _holds(stall.holds),
    }


def _core(core: CoreState) -> Json:
    registers: Json = {"irr": vectors_of(core.irr), "isr": vectors_of(core.isr)}
    return asdict(core) | registers | {"mode": mode_text(core.mode)}


def _holds(holds: Iterable[HoldView]) -> list[Json]:
    return [asdict(hold) for hold in holds]
