"""The tags of the fields that common frames have, and the messages of a client's stream: what
precedes each of them on the wire.

A tag is the field's number and its wire type: 0 a varint, 1 eight bytes, 2 a length and as many
bytes. ``proto/`` has the last word: a test compares every name here with it.
"""

from typing import Final

__all__ = [
    "ACCOUNT_ACTIVITY",
    "ACCOUNT_CPU",
    "ACCOUNT_INTERRUPTS_ENABLED",
    "ACCOUNT_IRR",
    "ACCOUNT_ISR",
    "ACCOUNT_MULTIKERNEL",
    "ACCOUNT_PPR",
    "ACCOUNT_STATS",
    "ACCOUNT_TPR",
    "ACCOUNT_VECTORS",
    "DOWN_ACK",
    "DOWN_BEAT",
    "DOWN_FLOORS",
    "DOWN_FRAME",
    "DOWN_LEGS",
    "DOWN_RESOLVED",
    "DOWN_ROSTER",
    "EVENT_WRITES",
    "FLOOR_RUNS",
    "FLOOR_SOURCE",
    "INJECTED_ANSWERED",
    "INJECTED_LEGS",
    "INJECTED_OUTCOMES",
    "INJECTED_ROSTER",
    "INJECT_AGAIN",
    "INJECT_CLIENT_ID",
    "INJECT_EACH",
    "INJECT_FIRST_SEQ",
    "INJECT_RESOLVED_BELOW",
    "INJECT_ROSTER",
    "INJECT_RUNS",
    "INJECT_WORDS",
    "LEGS_CPUS",
    "LEGS_FIRST_SEQ",
    "LEGS_OFFSETS",
    "LEGS_PLACES",
    "LEGS_SEQS",
    "LEGS_SOURCE",
    "LEGS_WORDS",
    "LEG_APIC_ID",
    "LEG_COUNT",
    "LEG_INSTANCE_ID",
    "LEG_OUTCOME",
    "OUTCOME_COUNT",
    "OUTCOME_FIRST",
    "OUTCOME_OUTCOME",
    "REQUEST_FRAME",
    "RESPONSE_FRAME",
    "RUN_FIRST",
    "RUN_LAST",
    "SEVERAL_LEGS",
    "SEVERAL_SEQ",
    "STAT_COUNT",
    "STAT_FIELD",
    "TOLD_COUNTS_ONLY",
    "TOLD_FIRST_SEQ",
    "TOLD_OUTCOMES",
    "TOLD_SEVERAL",
    "UP_ACCOUNTS",
    "UP_ACK",
    "UP_APPLIED",
    "UP_BEAT",
    "UP_EVENTS",
    "UP_FRAME",
    "UP_MORE",
    "UP_OUTCOMES",
    "UP_RESOLVED",
    "VECTOR_COALESCED",
    "VECTOR_DELIVERED",
    "VECTOR_DISCARDED",
    "VECTOR_EOI",
    "VECTOR_HANDLED",
    "VECTOR_VECTOR",
    "WORDS_FIRST",
    "WORDS_LAST",
    "WORDS_REPEATED_CALL",
    "WRITES_COMMAND",
    "WRITES_CPU",
    "WRITES_FIRST_SEQ",
    "WRITES_WORDS",
]

REQUEST_FRAME: Final = 2 << 3 | 2
RESPONSE_FRAME: Final = 2 << 3 | 2

UP_FRAME: Final = 1 << 3
UP_ACK: Final = 2 << 3
UP_EVENTS: Final = 3 << 3 | 2
UP_APPLIED: Final = 4 << 3
UP_OUTCOMES: Final = 5 << 3 | 2
UP_ACCOUNTS: Final = 6 << 3 | 2
UP_RESOLVED: Final = 7 << 3 | 2
UP_MORE: Final = 9 << 3
UP_BEAT: Final = 10 << 3

EVENT_WRITES: Final = 1 << 3 | 2

WRITES_CPU: Final = 1 << 3
WRITES_FIRST_SEQ: Final = 2 << 3
WRITES_WORDS: Final = 3 << 3 | 2
WRITES_COMMAND: Final = 4 << 3

OUTCOME_FIRST: Final = 1 << 3
OUTCOME_COUNT: Final = 2 << 3
OUTCOME_OUTCOME: Final = 3 << 3

ACCOUNT_CPU: Final = 1 << 3
ACCOUNT_IRR: Final = 2 << 3 | 2
ACCOUNT_ISR: Final = 3 << 3 | 2
ACCOUNT_TPR: Final = 4 << 3
ACCOUNT_PPR: Final = 5 << 3
ACCOUNT_INTERRUPTS_ENABLED: Final = 6 << 3
ACCOUNT_ACTIVITY: Final = 7 << 3 | 2
ACCOUNT_MULTIKERNEL: Final = 8 << 3
ACCOUNT_VECTORS: Final = 9 << 3 | 2
ACCOUNT_STATS: Final = 10 << 3 | 2

VECTOR_VECTOR: Final = 1 << 3
VECTOR_DELIVERED: Final = 2 << 3
VECTOR_COALESCED: Final = 3 << 3
VECTOR_HANDLED: Final = 4 << 3
VECTOR_EOI: Final = 5 << 3
VECTOR_DISCARDED: Final = 6 << 3

STAT_FIELD: Final = 1 << 3
STAT_COUNT: Final = 2 << 3

RUN_FIRST: Final = 1 << 3
RUN_LAST: Final = 2 << 3

DOWN_FRAME: Final = 1 << 3
DOWN_ACK: Final = 2 << 3
DOWN_FLOORS: Final = 3 << 3 | 2
DOWN_LEGS: Final = 4 << 3 | 2
DOWN_RESOLVED: Final = 5 << 3 | 2
DOWN_BEAT: Final = 7 << 3
DOWN_ROSTER: Final = 8 << 3

FLOOR_SOURCE: Final = 1 << 3 | 2
FLOOR_RUNS: Final = 2 << 3 | 2

LEGS_SOURCE: Final = 1 << 3 | 2
LEGS_SEQS: Final = 2 << 3 | 2
LEGS_WORDS: Final = 3 << 3 | 2
LEGS_CPUS: Final = 4 << 3 | 2
LEGS_FIRST_SEQ: Final = 7 << 3 | 0
LEGS_OFFSETS: Final = 8 << 3 | 2
LEGS_PLACES: Final = 9 << 3 | 2

INJECT_CLIENT_ID: Final = 1 << 3 | 2
INJECT_FIRST_SEQ: Final = 2 << 3
INJECT_WORDS: Final = 3 << 3 | 2
INJECT_RESOLVED_BELOW: Final = 4 << 3
INJECT_ROSTER: Final = 5 << 3
INJECT_AGAIN: Final = 6 << 3
INJECT_EACH: Final = 7 << 3
INJECT_RUNS: Final = 20 << 3

INJECTED_ANSWERED: Final = 3 << 3 | 2
INJECTED_LEGS: Final = 4 << 3 | 2
INJECTED_OUTCOMES: Final = 5 << 3 | 2
INJECTED_ROSTER: Final = 6 << 3

WORDS_FIRST: Final = 1 << 3
WORDS_LAST: Final = 2 << 3
WORDS_REPEATED_CALL: Final = 3 << 3

TOLD_FIRST_SEQ: Final = 1 << 3
TOLD_OUTCOMES: Final = 2 << 3 | 2
TOLD_SEVERAL: Final = 3 << 3 | 2
TOLD_COUNTS_ONLY: Final = 4 << 3

SEVERAL_SEQ: Final = 1 << 3
SEVERAL_LEGS: Final = 2 << 3 | 2

LEG_APIC_ID: Final = 1 << 3
LEG_INSTANCE_ID: Final = 2 << 3
LEG_OUTCOME: Final = 3 << 3
LEG_COUNT: Final = 4 << 3
