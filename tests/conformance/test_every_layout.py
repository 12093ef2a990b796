"""A machine of one kernel and one with a kernel per CPU behave alike, in every scenario there is.

Design 3.5: bare metal has no filter. The quick tier compares every fourth scenario.
"""

from pathlib import Path

import pytest

from mkrpc.conformance.apic_guest import Layout, play
from mkrpc.conformance.parse import read_recording

APIC = Path(__file__).parents[1] / "golden" / "apic"
RECORDINGS = sorted(path.relative_to(APIC) for path in APIC.rglob("*.jsonl.gz"))


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", RECORDINGS, ids=str)
def test_the_layout_of_kernels_does_not_matter_anywhere(path: Path) -> None:
    scenarios = read_recording(APIC / path).apic
    assert scenarios
    for scenario in scenarios:
        one = play(scenario, layout=Layout.ONE_KERNEL)
        assert one == play(scenario, layout=Layout.KERNEL_PER_CPU), scenario.name
