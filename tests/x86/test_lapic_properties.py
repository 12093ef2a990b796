"""The local APIC against a naive model, over random runs (R37, R42 to R46, R48, R50, R52).

The model keeps sets and scans them; it shares nothing with the code that it judges.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mkrpc.outcome import Outcome
from mkrpc.x86.icr import Shorthand, decode, fixed, shorthand_word
from mkrpc.x86.lapic import ApicMode, LocalApic

# Few classes and few vectors in each, so that merging and blocking are common.
VECTORS = st.sampled_from([0, 15, 16, 0x1F, 0x31, 0x3F, 0x41, 0x4F, 0xEA, 0xEB, 0xFD, 0xFF])
MODES = st.sampled_from([ApicMode.XAPIC, ApicMode.X2APIC])


class ApicAgainstNaiveModel(RuleBasedStateMachine):
    """Same calls to both; every observable equal after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: set[int] = set()
        self.in_service: set[int] = set()
        self.enabled = False
        self.task_priority = 0
        self.errors: set[int] = set()
        self.visible: set[int] = set()

    @initialize(mode=MODES)
    def make(self, mode: ApicMode) -> None:
        self.apic = LocalApic(5, mode=mode)

    def priority_class(self) -> int:
        return max([self.task_priority // 16, *(vector // 16 for vector in self.in_service)])

    def deliverable(self) -> int:
        candidates = [vector for vector in self.pending if vector // 16 > self.priority_class()]
        return max(candidates, default=-1) if self.enabled else -1

    def arrival(self, vector: int, *, error: int) -> Outcome:
        if error == 5 and vector < 16:
            self.errors.add(5)
            return Outcome.REJECTED_ILLEGAL_VECTOR
        if not self.enabled:
            return Outcome.REJECTED_SOFTWARE_DISABLED
        if vector < 16:
            self.errors.add(error)
            return Outcome.REJECTED_ILLEGAL_VECTOR
        if vector in self.pending:
            return Outcome.COALESCED
        self.pending.add(vector)
        return Outcome.DELIVERED

    @rule(vector=VECTORS)
    def arrive(self, vector: int) -> None:
        expected = self.arrival(vector, error=6)
        assert self.apic.accept(decode(fixed(5, vector))) is expected

    @rule(vector=VECTORS)
    def send_to_itself(self, vector: int) -> None:
        expected = self.arrival(vector, error=5)
        write = self.apic.write_icr(shorthand_word(Shorthand.SELF, vector))
        assert write.settled is expected

    @precondition(lambda self: self.deliverable() >= 0)
    @rule()
    def acknowledge(self) -> None:
        vector = self.deliverable()
        assert self.apic.acknowledge() == vector
        self.pending.remove(vector)
        self.in_service.add(vector)

    @rule()
    def eoi(self) -> None:
        ended = max(self.in_service, default=None)
        self.in_service.discard(-1 if ended is None else ended)
        assert self.apic.eoi() == ended

    @rule(value=st.sampled_from([0, 0x05, 0x10, 0x30, 0x3F, 0x40, 0xE0, 0xF0, 0xFF]))
    def set_task_priority(self, value: int) -> None:
        self.task_priority = self.apic.tpr = value

    @rule(enabled=st.sampled_from([True, True, False]))
    def software_enable(self, enabled: bool) -> None:
        self.enabled = enabled
        self.apic.write_svr(0x1FF if enabled else 0xFF)

    @rule()
    def write_esr(self) -> None:
        self.visible, self.errors = self.errors, set()
        self.apic.write_esr()

    @rule()
    def init(self) -> None:
        self.pending, self.in_service, self.errors, self.visible = set(), set(), set(), set()
        self.enabled, self.task_priority = False, 0
        self.apic.init()

    @invariant()
    def equal(self) -> None:
        if not hasattr(self, "apic"):
            return
        self.apic.assert_invariants()
        assert self.apic.highest_deliverable() == self.deliverable()
        assert self.apic.irr == sum(1 << vector for vector in self.pending)
        assert self.apic.isr == sum(1 << vector for vector in self.in_service)
        assert self.apic.esr == sum(1 << bit for bit in self.visible)
        assert self.apic.ppr >> 4 == self.priority_class()


ApicAgainstNaiveModel.TestCase.settings = settings(stateful_step_count=40)
TestApicAgainstNaiveModel = ApicAgainstNaiveModel.TestCase
