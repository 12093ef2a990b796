"""What the fork server imports once, so that every process that it starts shares it.

All that an instance or an interconnect is made of, gRPC included: imported, and not used. Forking a
process that has used gRPC is unsafe, because of its threads; one that has merely imported it has
none (a test counts them), and an instance starts in a few milliseconds where it would take 0.2 s to
import all this by itself.

What is here is never collected: the collector of a child would write to it, and what a process
writes to it shares with nobody.
"""

# ruff: noqa: F401 - imported, and not used

import gc
from contextlib import suppress

# The first four would be imported only once they are needed.
import grpc._channel
import multiprocess.connection
import multiprocess.popen_forkserver
import multiprocess.spawn

import mkrpc.host.agent
import mkrpc.host.children
import mkrpc.instance.boot
import mkrpc.instance.process
import mkrpc.interconnect.server
import mkrpc.journal.recorder
import mkrpc.journal.values
from mkrpc import logs
from mkrpc.instance.config import KernelConfig

with suppress(ImportError, AttributeError):  # grpcio's own interface may have changed
    import mkrpc.transport.queue_loop
    import mkrpc.transport.queue_proof
    import mkrpc.transport.reactor

logs.configure("fork server")
KernelConfig(instance_id=0, name="none", apic_ids=(0,))  # so that its switches are known

gc.collect()
gc.freeze()
