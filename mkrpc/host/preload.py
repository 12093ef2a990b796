"""What the fork server imports once, so that every instance that it starts shares it.

All that an instance is made of, gRPC included: imported, and not used. Forking a process that has
used gRPC is unsafe, because of its threads; one that has merely imported it has none (a test counts
them), and an instance starts in a few milliseconds where it would take 0.2 s to import all this by
itself. Nothing else is here: among what it never touches, what an instance does touch would lie on
more pages, each of which it then has for itself. The interconnect, of which there is one, imports
the rest of its own.

What is here is never collected: the collector of a child would write to it, and what a process
writes to it shares with nobody.
"""

# ruff: noqa: E402, F401 - imported in this order, and not used

import gc
import importlib
import os
import sys
from contextlib import suppress

# structlog would bring it in for tracebacks on a terminal: a MiB that no process of a cluster uses.
sys.modules["rich"] = None  # type: ignore[assignment]
import structlog

del sys.modules["rich"]

# These four would be imported only once they are needed.
import grpc._channel
import multiprocess.connection
import multiprocess.popen_forkserver
import multiprocess.spawn

import mkrpc.host.children
import mkrpc.instance.boot
import mkrpc.instance.process
import mkrpc.journal.recorder
from mkrpc import logs
from mkrpc.instance.config import KernelConfig
from mkrpc.transport.choice import DEFAULT_CHOICE, TRANSPORT_VARIABLE

if (os.environ.get(TRANSPORT_VARIABLE) or DEFAULT_CHOICE) != "aio":
    with suppress(ImportError, AttributeError):  # grpcio's own interface may have changed
        import mkrpc.transport.queue_loop
        import mkrpc.transport.queue_proof
        import mkrpc.transport.reactor
else:
    with suppress(ImportError):  # not installed
        importlib.import_module("uvloop")

logs.configure("fork server")
KernelConfig(instance_id=0, name="none", apic_ids=(0,))  # so that its switches are known

gc.collect()
gc.freeze()
