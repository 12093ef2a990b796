"""What a client's stream is told are the bytes that protobuf makes, whatever it is told."""

from hypothesis import given
from hypothesis import strategies as st

from mkrpc.interconnect.answers import leg_to_pb
from mkrpc.interconnect.stream_codec import (
    answered_to_bytes,
    legs_to_bytes,
    outcomes_to_bytes,
    roster_to_bytes,
)
from mkrpc.interconnect.tally import LegKind
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.v1 import control_pb2 as pb

NUMBER = st.one_of(st.integers(1, 300), st.integers(1, (1 << 64) - 1))
U32 = st.integers(0, (1 << 32) - 1)
OUTCOME = st.sampled_from(Outcome)
KIND: st.SearchStrategy[LegKind] = st.one_of(
    st.tuples(U32, st.integers(0, 511), OUTCOME), st.tuples(st.just(NOBODY), st.none(), OUTCOME)
)
LEGS = st.dictionaries(KIND, NUMBER, max_size=4)
ANSWERED = st.lists(st.tuples(NUMBER, NUMBER, st.booleans()), max_size=4)
TOLD = st.lists(
    st.tuples(
        NUMBER,
        st.binary(max_size=300),
        st.dictionaries(NUMBER, LEGS, max_size=3),
        st.booleans(),
    ),
    max_size=3,
)


@given(
    answered=ANSWERED,
    legs=LEGS,
    told=TOLD,
    roster=st.integers(0, (1 << 64) - 1),
)
def test_a_response_is_the_bytes_that_protobuf_makes(
    answered: list[tuple[int, int, bool]],
    legs: dict[LegKind, int],
    told: list[tuple[int, bytes, dict[int, dict[LegKind, int]], bool]],
    roster: int,
) -> None:
    fields = [
        *(answered_to_bytes(first, last, repeated=repeated) for first, last, repeated in answered),
        *(legs_to_bytes(kind, count) for kind, count in legs.items()),
        *(
            outcomes_to_bytes(first, outcomes, several, counts_only=counts_only)
            for first, outcomes, several, counts_only in told
        ),
    ]
    expected = pb.InjectStreamResponse(roster=roster)
    for first, last, repeated in answered:
        expected.answered.add(first=first, last=last, repeated_call=repeated)
    expected.legs.extend(leg_to_pb(kind, count) for kind, count in legs.items())
    for first, outcomes, several, counts_only in told:
        row = expected.outcomes.add(first_seq=first, outcomes=outcomes, counts_only=counts_only)
        for seq, kinds in several.items():
            row.several.add(seq=seq, legs=[leg_to_pb(kind, count) for kind, count in kinds.items()])
    assert b"".join([*fields, roster_to_bytes(roster)]) == expected.SerializeToString()
