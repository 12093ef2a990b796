"""Who may ring whom (design 3.5)."""

import pytest

from mkrpc.errors import InvalidArgumentError
from mkrpc.interconnect.policy import MAX_RULES, Policy, Rule, Scope, SourceKind
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode, Shorthand, decode, icr_word

FIXED, LOWEST = DeliveryMode.FIXED, DeliveryMode.LOWEST_PRIORITY
NMI, INIT, SIPI, SMI = (
    DeliveryMode.NMI,
    DeliveryMode.INIT,
    DeliveryMode.STARTUP,
    DeliveryMode.SMI,
)
CLIENT = None


def permitted(policy: Policy, source: int | None, to: int, mode: DeliveryMode, vec: int) -> bool:
    icr = decode(icr_word(vector=vec, delivery_mode=mode))
    outcome = policy.decide(source_id=source, destination_id=to, icr=icr)
    assert outcome in (None, Outcome.REJECTED_NOT_PERMITTED)
    return outcome is None


@pytest.mark.parametrize("source", [0, 1, CLIENT])
@pytest.mark.parametrize("mode", DeliveryMode)
def test_bare_metal_permits_all_as_the_machine_does(source: int, mode: DeliveryMode) -> None:
    assert permitted(Policy.bare_metal(), source, 2, mode, 0x41)


@pytest.mark.parametrize(
    ("source", "to", "mode", "vector", "passes"),
    [
        # Everything within an instance.
        (1, 1, FIXED, 0x41, True),
        (1, 1, LOWEST, 0x41, True),
        (1, 1, INIT, 0, True),
        (1, 1, SMI, 0, True),
        # Across instances: 0xea, Fixed, and nothing else.
        (1, 2, FIXED, 0xEA, True),
        (1, 0, FIXED, 0xEA, True),
        (1, 2, FIXED, 0xEB, False),
        (1, 2, LOWEST, 0xEA, False),
        (1, 2, NMI, 0xEA, False),
        (1, 2, INIT, 0, False),
        (1, 0, SIPI, 8, False),
        # The host instance starts and stops the others.
        (0, 1, INIT, 0, True),
        (0, 1, SIPI, 8, True),
        (0, 1, NMI, 0, True),
        (0, 1, SMI, 0, False),
        (0, 1, FIXED, 0x41, False),
        # A client is nobody's kernel.
        (CLIENT, 0, FIXED, 0xEA, True),
        (CLIENT, 1, FIXED, 0xEA, True),
        (CLIENT, 1, FIXED, 0x41, False),
        (CLIENT, 1, LOWEST, 0xEA, False),
        (CLIENT, 1, INIT, 0, False),
        (CLIENT, 1, NMI, 0, False),
    ],
)
def test_filtered(
    source: int | None, to: int, mode: DeliveryMode, vector: int, passes: bool
) -> None:
    assert permitted(Policy.filtered(), source, to, mode, vector) is passes


def test_the_first_row_that_matches_decides_and_the_default_is_no() -> None:
    no_two = Rule(permit=False, destination_ids={2})
    from_one = Rule(permit=True, source_ids={1})
    assert not permitted(Policy((no_two, from_one)), 1, 2, FIXED, 0x41)
    assert permitted(Policy((from_one, no_two)), 1, 2, FIXED, 0x41)
    assert not permitted(Policy((from_one,)), 3, 1, FIXED, 0x41)
    assert not permitted(Policy(()), 1, 1, FIXED, 0x41)


@pytest.mark.parametrize(
    ("rule", "matching", "other"),
    [
        (Rule(permit=True, source_kind=SourceKind.CLIENT), (None, 1), (1, 1)),
        (Rule(permit=True, scope=Scope.OWN_INSTANCE), (1, 1), (1, 2)),
        (Rule(permit=True, scope=Scope.OTHER_INSTANCE), (1, 2), (1, 1)),
        (Rule(permit=True, scope=Scope.OTHER_INSTANCE), (None, 1), (1, 1)),
        (Rule(permit=True, destination_ids={4}), (1, 4), (1, 5)),
    ],
)
def test_a_column_restricts_its_row(
    rule: Rule, matching: tuple[int | None, int], other: tuple[int | None, int]
) -> None:
    policy = Policy((rule,))
    assert permitted(policy, *matching, FIXED, 0x41)
    assert not permitted(policy, *other, FIXED, 0x41)


def test_shorthands_can_be_told_apart() -> None:
    policy = Policy(
        (Rule(permit=False, shorthands={Shorthand.ALL_EXCLUDING_SELF}), Rule(permit=True))
    )
    for shorthand in Shorthand:
        icr = decode(icr_word(vector=0xEA, shorthand=shorthand))
        refused = policy.decide(source_id=1, destination_id=2, icr=icr)
        assert (refused is not None) is (shorthand is Shorthand.ALL_EXCLUDING_SELF)


def test_an_unknown_profile_and_too_many_rows_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="no policy named 'fort-knox'"):
        Policy.named("fort-knox")
    with pytest.raises(InvalidArgumentError, match="over the limit"):
        Policy((Rule(permit=True),) * (MAX_RULES + 1))
