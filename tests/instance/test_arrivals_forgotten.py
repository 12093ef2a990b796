"""A leg that comes again after its outcome has been forgotten (design 3.3, rule 2)."""

import pytest

from mkrpc.instance.arrivals import Arrivals
from mkrpc.instance.kernel import Kernel, KernelConfig
from mkrpc.link.frames import Legs, ResolvedRun, UpFrame
from mkrpc.link.recovery import Resent
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed

CLIENT = b"c" * 16


@pytest.mark.parametrize(
    ("resent", "outcome"),
    [
        (Resent.NO, Outcome.REJECTED_MALFORMED),
        (Resent.ANY_ORDER, Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED),
    ],
    ids=["from the interconnect that had it forgotten", "from another one"],
)
def test_what_is_forgotten_is_not_applied_again(resent: Resent, outcome: Outcome) -> None:
    """An interconnect that had it forgotten has lost count; another one cannot know."""
    config = KernelConfig(instance_id=0, name="mk0", apic_ids=(0,))
    kernel = Kernel(config, incarnation=bytes(range(16)), now_us=lambda: 0)
    arrivals = Arrivals(kernel)
    arrivals.apply(Legs(CLIENT, [1], [fixed(0, 0x41)], [0]))
    kernel.outcomes.forget(CLIENT, (ResolvedRun(1, 1),))
    arrivals.apply(Legs(CLIENT, [1], [fixed(0, 0x41)], [0], resent=resent))
    frame = UpFrame()
    arrivals.take(frame)
    assert [(run.first, run.outcome) for run in frame.outcomes] == [(2, outcome)]
    assert kernel.cpus[0].books.delivered[0x41] == 1
