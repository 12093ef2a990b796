"""The laws of design 3.1 at every moment of any run: conservation, exactly once, honest losses."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mkrpc.errors import NotFoundError
from mkrpc.interconnect import ledger as ledger_module
from mkrpc.interconnect import mirror as mirror_module
from mkrpc.interconnect.policy import Policy
from mkrpc.link.frames import NOBODY, SettledWrite
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode, Shorthand, fixed, icr_word, nmi, shorthand_word

WORDS = st.sampled_from(
    [
        *(fixed(apic_id, vector) for apic_id in (0, 1, 2, 3, 9) for vector in (0xEA, 0x41)),
        fixed(NOBODY, 0xEA),
        fixed(0b0110, 0x42, logical=True),
        shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA),
        icr_word(vector=0x51, destination=NOBODY, delivery_mode=DeliveryMode.LOWEST_PRIORITY),
        nmi(2),
    ]
)
SELF_VECTORS = st.sampled_from([0x41, 0xEA])
PEERS = st.integers(0, 2)
CPUS = {0: (0, 1), 1: (2,), 2: (3,)}


def test_legs_of_a_dead_target_are_lost_and_only_those_in_its_hands_are_in_doubt(
    machine: Any,
) -> None:
    wire = machine((0,), (1,))
    bob = wire.peers[1]
    tally = wire.inject(fixed(1, 0xEA), count=2)
    bob.pull()
    bob.answer(1)
    bob.push()
    wire.inject(fixed(1, 0x41), count=3, seq=3)
    bob.answer()  # applied, but the report dies with it
    bob.die()
    assert tally.legs == {
        (1, 1, Outcome.DELIVERED): 1,
        (1, 1, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED): 1,
    }
    rows = {row.key.vector: row.outcomes for row in wire.bus.ledger}
    assert rows[0x41] == {Outcome.LOST_TARGET_DEAD: 3}
    assert (wire.bus.in_flight(), wire.bus.balance()) == (0, [])


def test_the_writes_of_a_dead_source_go_on_and_settle(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice, bob = wire.peers
    alice.write(fixed(1, 0xEA), count=4)
    alice.push()
    alice.die()
    wire.settle()
    assert len(bob.legs) == 4
    (row,) = wire.bus.ledger
    assert (row.written, row.outcomes) == (4, {Outcome.DELIVERED: 4})


def test_a_leg_of_an_old_incarnation_never_reaches_a_new_one(machine: Any) -> None:
    """Design 3.3, rule 3."""
    wire = machine((0,), (1,))
    wire.inject(fixed(1, 0xEA), count=4)
    wire.peers[1].die()
    reborn = wire.attach(1, (1,))
    wire.peers.append(reborn)
    wire.settle()
    assert reborn.legs == []
    assert wire.bus.totals().lost == 4


def test_many_short_lives_fold_their_rows_and_stay_in_balance(machine: Any) -> None:
    wire = machine((0,))
    alice = wire.peers[0]
    for n in range(300):
        bob = wire.attach(1, (1,))
        wire.peers[1:] = [bob]
        bob.write(fixed(0, 0xEA))
        alice.write(fixed(1, 0xEA))
        wire.settle()
        wire.inject(fixed(1, 0x41), client_id=n.to_bytes(16, "little"))
        bob.die()
    totals = wire.bus.totals()
    assert (totals.written, totals.delivered, totals.lost) == (900, 600, 300)
    assert wire.bus.balance() == []
    assert len(wire.bus.ledger) < 900


def test_rows_of_one_who_dies_are_not_folded_while_its_legs_are_being_lost(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own writes to itself are resolved before the legs of others behind them."""
    monkeypatch.setattr(ledger_module, "MAX_FINISHED_INCARNATIONS", 0)
    wire = machine((0,), (1,))
    alice, bob = wire.peers
    alice.write(fixed(0, 0xEA))
    alice.push()
    bob.write(fixed(0, 0xEA))
    bob.push()
    alice.die()
    assert wire.bus.balance() == []
    assert wire.bus.totals().lost == 2


def test_rows_of_a_client_are_not_folded_while_it_writes_again(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "MAX_FINISHED_CLIENTS", 1)
    wire = machine((0,), (1,))
    wire.inject(fixed(1, 0xEA))
    wire.settle()
    wire.inject(fixed(1, 0xEA), seq=2)
    for client in (b"another---------", b"a third---------"):
        wire.inject(fixed(9, 0xEA), client_id=client)
    assert wire.bus.balance() == []
    wire.settle()
    assert wire.bus.balance() == []


def test_the_mirror_of_the_long_dead_is_forgotten(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "KEPT_INCARNATIONS", 2)
    wire = machine((0,), (1,), (2,))
    for peer in wire.peers:
        peer.die()
    with pytest.raises(NotFoundError):
        wire.bus.mirrored(0)
    assert wire.bus.mirrored(1)[0] == wire.peers[1].incarnation


def test_the_second_law_sees_a_peer_whose_accounts_do_not_match_its_answers(machine: Any) -> None:
    wire = machine((0,), (1,))
    bob = wire.peers[1]
    wire.inject(fixed(1, 0xEA), count=2)
    bob.pull()
    bob.answer(1)
    bob.cpus[0].delivered[0xEA] += 1
    bob.cpus[0].handled[0xEA] += 1
    bob.push()
    (line,) = wire.bus.balance()
    assert line == ("instance 1 APIC id 1 vector 0xea: the ledger has 1 delivered, the mirror 2")
    bob.send(more=True)
    assert wire.bus.balance() == [], "a report under way is not judged"


def test_the_first_law_sees_a_leg_that_nobody_holds(machine: Any) -> None:
    wire = machine((0,), (1,))
    wire.inject(fixed(1, 0xEA))
    (row,) = wire.bus.ledger
    row.written += 1
    lines = wire.bus.balance()
    assert len(lines) == 2
    assert "written 2 is not ended 0 + in flight 1" in lines[0]
    assert lines[1].startswith("the totals do not balance")


class AnyRun(RuleBasedStateMachine):
    """Random writes, answers, deaths and rebirths; the books balance after every step."""

    machine: Any = None
    policy = Policy.bare_metal()

    def __init__(self) -> None:
        super().__init__()
        self.wire = self.machine(*CPUS.values(), policy=self.policy)
        self.everyone = list(self.wire.peers)
        self.tallies: list[Any] = []
        self.client_seq = 1

    @rule(number=PEERS, word=WORDS, count=st.integers(1, 5), cpu=st.integers(0, 1))
    def write(self, number: int, word: int, count: int, cpu: int) -> None:
        peer = self.wire.peers[number]
        peer.write(word, cpu=cpu % len(peer.cpus), count=count)

    @rule(number=PEERS, vector=SELF_VECTORS)
    def self_ipi(self, number: int, vector: int) -> None:
        peer = self.wire.peers[number]
        word = shorthand_word(Shorthand.SELF, vector)
        outcome = peer.cpus[0].accept(word)
        peer.seq += 1
        peer.events.append(SettledWrite(0, peer.seq, word, outcome))

    @rule(word=WORDS, count=st.integers(1, 5))
    def inject(self, word: int, count: int) -> None:
        self.tallies.append(self.wire.inject(word, count=count, seq=self.client_seq))
        self.client_seq += count

    @rule(back=st.integers(1, 5), word=WORDS)
    @precondition(lambda self: self.client_seq > 1)
    def repeat_an_injection(self, back: int, word: int) -> None:
        calls = list(self.wire.bus._injections.clients.get(b"client----------").calls.values())
        call = calls[-min(back, len(calls))]
        tally = self.wire.inject(call.word, count=call.count, seq=call.first_seq)
        assert tally.repeated
        self.tallies.append(tally)

    @rule(number=PEERS)
    def pull(self, number: int) -> None:
        self.wire.peers[number].pull()

    @rule(number=PEERS, count=st.integers(0, 7))
    def answer_and_push(self, number: int, count: int) -> None:
        self.wire.peers[number].answer(count)
        self.wire.peers[number].push()

    @rule(number=PEERS)
    def cli(self, number: int) -> None:
        self.wire.peers[number].cpus[0].interrupts_enabled = False

    @rule(number=PEERS)
    def sti(self, number: int) -> None:
        self.wire.peers[number].cpus[0].sti()

    @rule(number=PEERS)
    def die_and_come_back(self, number: int) -> None:
        self.wire.peers[number].die()
        self.wire.peers[number] = self.wire.attach(number, CPUS[number])
        self.everyone.append(self.wire.peers[number])

    @invariant()
    def the_books_balance(self) -> None:
        assert self.wire.bus.balance() == []
        for peer in self.everyone:
            session = peer.session
            row = self.wire.bus.mirror.row(peer.incarnation)
            assert row is not None
            assert 0 <= session.unsettled <= session.last_seq
            for cpu, mirrored in zip(peer.cpus, row.accounts(), strict=True):
                assert all(cpu.delivered[c.vector] >= c.delivered for c in mirrored.vectors), (
                    "the mirror is never ahead of the instance"
                )

    def teardown(self) -> None:
        self.wire.settle()
        bus = self.wire.bus
        assert bus.in_flight() == 0
        assert bus.balance() == []
        assert all(tally.done for tally in self.tallies)
        assert all(peer.session.unsettled == 0 for peer in self.everyone)
        for peer in self.everyone:
            legs = Counter(leg[:2] + leg[3:] for leg in peer.legs)
            assert max(legs.values(), default=1) == 1, "a leg is applied once"
        for peer in self.wire.peers:
            row = bus.mirror.row(peer.incarnation)
            assert row is not None
            mirrored = [{c.vector: c.delivered for c in a.vectors} for a in row.accounts()]
            peer.push()
            assert mirrored == [dict(cpu.delivered) for cpu in peer.cpus], "equal at quiescence"


@pytest.mark.parametrize("policy", ["bare-metal", "filtered"])
def test_the_books_balance_at_every_moment_of_any_run(machine: Any, policy: str) -> None:
    run = type("Run", (AnyRun,), {"machine": machine, "policy": Policy.named(policy)})
    case = run.TestCase
    case.settings = settings(max_examples=settings().max_examples * 2 // 5, stateful_step_count=40)
    case("runTest").runTest()
