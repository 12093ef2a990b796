"""What a process costs its host, as the kernel counts it."""

import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

__all__ = ["Footprint", "process_cpu_s", "footprint"]

_KIB_PER_MIB = 1024
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Footprint:
    """``pss_mib``: its pages, each shared one divided by those who share it. ``private_mib``: pages
    that it has for itself, whatever others share. ``cpu_s``: used so far, user and system."""

    pss_mib: float
    private_mib: float
    threads: float
    cpu_s: float

    @classmethod
    def mean(cls, each: Sequence["Footprint"]) -> "Footprint":
        """Of some processes."""
        columns = zip(*map(astuple, each), strict=True)
        return cls(*(sum(column) / len(each) for column in columns))


def footprint(pid: int) -> Footprint:
    """Of a process that runs, from proc(5): smaps_rollup, task and stat."""
    kib = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        key, value = line.split(":")
        kib[key] = int(value.split()[0])
    return Footprint(
        pss_mib=kib["Pss"] / _KIB_PER_MIB,
        private_mib=(kib["Private_Dirty"] + kib["Private_Clean"]) / _KIB_PER_MIB,
        threads=len(os.listdir(f"/proc/{pid}/task")),
        cpu_s=process_cpu_s(pid),
    )


def process_cpu_s(pid: int) -> float:
    """CPU that a process has used, user and system, in ticks of 10 ms as a rule."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
