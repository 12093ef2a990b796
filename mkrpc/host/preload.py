"""What the fork server imports once, so that every instance that it starts shares it.

It is all that an instance is made of, gRPC included: imported, and not used. Forking a process that
has used gRPC is unsafe, because of its threads. One that has merely imported it has no threads; a
test counts them. An instance then starts in a few milliseconds; importing all this by itself would
take it 0.2 s.

Nothing else is imported here. A page of memory to which an instance writes is no longer shared, and
what it writes to would be spread over more pages, among what it never uses. The interconnect, of
which there is one, imports by itself what else it needs.

The garbage collector leaves alone what is here, because it would write to it in every child.
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
