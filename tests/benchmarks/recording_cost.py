"""What recording costs: ``python tests/benchmarks/recording_cost.py [ROUNDS]``.

Two clusters of two instances stand side by side, one of them recorded; the same work is given to
them in turns, and the medians and the best of the rounds are compared, of the time that it took and
of the CPU time of all their processes. Before that the same without processes, in one thread,
where nothing else is in the way.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mkrpc.client import apic
from mkrpc.cluster import Cluster
from mkrpc.instance.assembly import assemble, take_apart
from mkrpc.instance.boot import Boot
from mkrpc.instance.config import KernelConfig
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.recording import open_bus
from mkrpc.journal.recorder import Recording
from mkrpc.topology import Topology
from mkrpc.x86.icr import fixed

BURST = 20_000
SINGLE = 200
IN_A_THREAD = 20_000
ROUNDS = 15

Measured = tuple[Callable[[], None], Callable[[], float]]


def rings(cluster: Cluster) -> None:
    cluster.client.write_icr(0, to=apic(2), count=BURST)


def calls(cluster: Cluster) -> None:
    for _ in range(SINGLE):
        cluster.client.inject(to=apic(2))


def in_a_thread(recording: Recording | None) -> Callable[[], None]:
    """A bus and a kernel with nothing between them; calls it with bursts of injections."""
    opened = open_bus(recording, epoch=1, policy=Policy.named("bare-metal"))
    bus = opened.__enter__()
    config = KernelConfig(instance_id=0, name="mk0", apic_ids=(0,))
    _, attachment = assemble(Boot(config=config, address="unix:/none", recording=recording))
    bus.advance(1)
    attachment.advance(1)
    session = bus.attach(attachment.hello(1))
    attachment.welcome(bus.welcome(session))
    state = {"seq": 1, "now": 1}

    def burst() -> None:
        for _ in range(IN_A_THREAD // 100):
            done: list[Any] = []
            bus.inject(
                client_id=b"c" * 16,
                first_seq=state["seq"],
                word=fixed(0, 0xEA),
                count=100,
                resolved_below=state["seq"],
                on_done=done.append,
            )
            state["seq"] += 100
            while not done:
                state["now"] += 1
                bus.advance(state["now"])
                while (down := bus.next_frame(session)) is not None:
                    attachment.advance(state["now"])
                    attachment.receive(down, 1)
                while (up := attachment.next_frame()) is not None:
                    bus.hear(session, up.beat, 1)
                    bus.receive(session, up, 1)

    burst.close = lambda: (take_apart(attachment), opened.__exit__(None, None, None))  # type: ignore[attr-defined]
    return burst


def cpu_of(cluster: Cluster) -> float:
    """Seconds of CPU that its interconnect and instances have taken, all their threads."""
    view = cluster.client.cluster()
    taken_ns = 0
    for pid in (view.interconnect_pid, *(each.pid for each in view.instances)):
        for task in Path(f"/proc/{pid}/task").iterdir():
            taken_ns += int((task / "schedstat").read_text().split()[0])
    return taken_ns / 1e9


def compare(what: str, unit: int, plain: Measured, recorded: Measured) -> None:
    """Alternate; print medians and best rounds per unit, and their ratios."""
    times: dict[Measured, list[tuple[float, float]]] = {plain: [], recorded: []}
    for number in range(ROUNDS + 1):
        for measured in (plain, recorded) if number % 2 else (recorded, plain):
            work, cpu_s = measured
            began, began_cpu = time.perf_counter(), cpu_s()
            work()
            took = time.perf_counter() - began, cpu_s() - began_cpu
            if number:  # the first one warms up
                times[measured].append(took)
    for kind, label in enumerate(("elapsed", "CPU")):
        for name, choose in (("median", statistics.median), ("best", min)):
            off, on = (
                choose([took[kind] for took in times[each]]) / unit * 1e6
                for each in (plain, recorded)
            )
            print(
                f"{what}, {label}, {name}: plain {off:.2f} us, recorded {on:.2f} us, "
                f"ratio {on / off:.2f}"
            )


def main() -> None:
    # A short path: that of a Unix socket has 107 bytes.
    with tempfile.TemporaryDirectory(prefix="rc", dir="/tmp") as folder:
        measure(Path(folder))


def measure(folder: Path) -> None:
    os.environ["MKRPC_STATE_DIR"] = str(folder / "s")
    limit = 4 << 30
    (folder / "thread").mkdir()
    bare, journalled = in_a_thread(None), in_a_thread(Recording(folder / "thread", limit))
    compare(
        "a leg in one thread, bus and kernel",
        IN_A_THREAD,
        (bare, time.process_time),
        (journalled, time.process_time),
    )
    journalled.close()  # type: ignore[attr-defined]
    sizes = [path.stat().st_size for path in (folder / "thread").iterdir()]
    print(f"  journals: {sum(sizes) / ((ROUNDS + 1) * IN_A_THREAD):.1f} bytes a leg")
    topology = Topology.of(instances=2, cpus=2)
    recording = Recording(folder / "cluster", limit)
    with (
        Cluster.start(topology, name="plain") as off,
        Cluster.start(topology, name="recorded", recording=recording) as on,
    ):
        for what, unit, work in (
            ("an ICR write of a burst", BURST, rings),
            ("an injection by itself", SINGLE, calls),
        ):
            plain, recorded = (
                (partial(work, cluster), partial(cpu_of, cluster)) for cluster in (off, on)
            )
            compare(what, unit, plain, recorded)
    sizes = [path.stat().st_size for path in (folder / "cluster").iterdir()]
    written = (ROUNDS + 1) * (BURST + SINGLE)
    print(f"  journals: {sum(sizes) / written:.1f} bytes an ICR write, {sum(sizes)} in all")


if __name__ == "__main__":
    ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    main()
