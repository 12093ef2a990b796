"""Which calls of a bus are its inputs, and go into a journal."""

__all__ = ["FREQUENT", "INPUTS", "OF_PARTS", "RARE", "READERS"]

FREQUENT = ("attach", "advance", "balance", "hear", "receive", "next_frame", "welcome")
"""Inputs with a payload of their own."""

RARE = (
    "abandon",
    "clear_fault",
    "command",
    "detach",
    "disconnect",
    "forget_client",
    "go_on",
    "inject",
    "inject_singles",
    "inject_words",
    "process_ended",
    "set_fault",
    "write_icr",
)
"""Inputs whose arguments are recorded by their names, whatever they are."""

OF_PARTS = ("buckets.change", "faults.strike", "late.hear")
"""Inputs of a part that drivers reach through the bus, likewise."""

INPUTS = frozenset(FREQUENT + RARE + OF_PARTS)
"""Everything that changes what the bus will do or say."""

READERS = frozenset(
    {
        "address_of",
        "apic_ids",
        "attached_ids",
        "attached_names",
        "cpu_owner",
        "cpu_record",
        "deadline_us",
        "in_flight",
        "instances",
        "is_awaited",
        "is_moving",
        "keep_no_changes",
        "latest_call",
        "lease_left_us",
        "lease_us",
        "may_beat",
        "mirrored",
        "now_us",
        "quiet",
        "recovering",
        "roster_number",
        "session",
        "sessions",
        "take_changes",
        "take_ready",
        "totals",
        "unmade",
        "watch",
        "written",
    }
)
"""The rest: none of them changes what any input gives."""
