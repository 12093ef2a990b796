"""The recorded scripts on both: they agree in every step, and the naive one with the recordings.

The second half is what the naive one is worth: on scripts where all recorded implementations
agree, its handlers run in the order in which theirs did.
"""

from pathlib import Path

import pytest
from model_check.pair import Pair
from naive import apic as plain

from mkrpc.conformance.parse import read_recording
from mkrpc.conformance.recording import Agree, ApicMachineMode, ApicScenario, Op, Step

APIC = Path(__file__).parents[1] / "golden" / "apic"
FILES = ["xapic", "xapic-8cpu", "x2apic", "x2apic-8cpu", "tcg10-x2apic-sparse"]
SET_UP = {"dfr": plain.DFR, "ldr": plain.LDR, "svr": plain.SVR, "tpr": plain.TPR}


def scenarios_of(name: str) -> tuple[ApicScenario, ...]:
    return tuple(read_recording(APIC / f"{name}.jsonl.gz").apic)


def start(scenario: ApicScenario) -> Pair:
    mode = plain.X2APIC if scenario.mode is ApicMachineMode.X2APIC else plain.XAPIC
    pair = Pair(scenario.ids, [mode] * len(scenario.ids))
    for cpu, initial in scenario.initial.items():
        for name, offset in SET_UP.items():
            if name in initial and not (mode == plain.X2APIC and name in ("dfr", "ldr")):
                pair.write(cpu, offset, initial[name])
    pair.compare()
    return pair


def take(pair: Pair, step: Step) -> None:
    """One step of a script, as the README of the recordings describes it."""
    cpu = step.cpu
    if step.op in (Op.HLT, Op.CLI_HLT):
        (pair.sti if step.op is Op.HLT else pair.cli)(cpu)
        pair.hlt(cpu)
    elif step.op is Op.STI:
        pair.sti(cpu)
        pair.nop(cpu)
    elif step.op is Op.MODE:
        if pair.runs(cpu):
            pair.defer(cpu, step.defer)
    elif step.op is Op.ICR:
        pair.icr(cpu, step.hi, step.lo)
    elif step.op is Op.WRITE:
        pair.write(cpu, step.register, step.value)
    elif step.op is Op.READ:
        pair.read(cpu, step.register)
    elif step.op is Op.SELF_IPI:
        pair.self_ipi(cpu, step.vector)
    else:
        {Op.EOI: pair.eoi, Op.CLI: pair.cli, Op.NOP: pair.nop}[step.op](cpu)


def play(scenario: ApicScenario) -> None:
    pair = start(scenario)
    for number, step in enumerate(scenario.steps):
        take(pair, step)
        if scenario.agree is Agree.ALL:
            for cpu, core in enumerate(pair.naive.cores):
                recorded = step.cpus.get(cpu, {}).get("delivered", ())
                ran = tuple(vector for vector, _ in core.log)
                assert ran == tuple(recorded), (scenario.name, number, cpu)
        pair.compare()


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_script_is_played_alike(name):
    for scenario in scenarios_of(name):
        play(scenario)
