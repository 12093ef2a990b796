"""Many seeds, in one process or in several."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from typing import TypeVar

__all__ = ["DEFAULT_SEEDS", "MAX_SEED", "MAX_SEEDS", "in_processes"]

DEFAULT_SEEDS = 200
MAX_SEEDS = 10_000_000
"""Seeds of one command at most."""
MAX_SEED = (1 << 63) - 1
"""The highest seed."""

_CHUNK = 10
"""Seeds that a process runs before it reports."""

ResultT = TypeVar("ResultT")


def in_processes(run_all: Callable[[range], ResultT], seeds: range, jobs: int) -> Iterator[ResultT]:
    """``run_all``, which can be pickled, over pieces of ``seeds``, in their order, whoever runs
    them."""
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    if jobs == 1 or len(chunks) == 1:
        yield from map(run_all, chunks)
        return
    # Ctrl-C comes to the whole group, and is the parent's to answer: children inherit what is
    # blocked. Not forked: whoever calls this may have threads.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        made = multiprocessing.get_context("spawn").Pool(min(jobs, len(chunks)))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with made as pool:
        yield from pool.imap(run_all, chunks)
