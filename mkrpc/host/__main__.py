"""``python -m mkrpc.host STATE_DIR``, which ``mkrpc up`` runs.

It starts the fork server, the interconnect and the instances, and then attaches to the
interconnect, so that Control can start and kill instances. It tells its launcher how it goes in
JSON lines on standard output, and ends when it is told to, when the interconnect has ended, or when
the launcher goes away before everything runs.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path

from mkrpc.host import fork_server

_MOST_BYTES = 107 - len("/pymp-12345678/listener-12345678")
"""Of a directory in which the path of the fork server's socket is not too long for the kernel."""


def main() -> int:
    """Run the host agent of the state directory named on the command line."""
    if len(os.fsencode(sys.argv[1])) <= _MOST_BYTES:
        # The fork server's socket goes with the cluster's directory, after kill -9 too.
        tempfile.tempdir = sys.argv[1]
    fork_server.begin(Path(sys.argv[1]))
    # Only now, while the fork server imports what it needs on another core.
    from mkrpc import logs
    from mkrpc.errors import MkrpcError
    from mkrpc.host.agent import HostAgent

    logs.configure("host agent")
    logs.bound(Path(sys.argv[1]) / "logs" / "host-agent.log")
    agent = HostAgent(Path(sys.argv[1]))
    # Until the event loop runs. No exception from here: it could lose a child just started.
    signal.signal(signal.SIGTERM, agent.interrupt)
    try:
        agent.start()
    except MkrpcError as error:
        agent.failed(error)
        agent.stop()
        return 1
    except BaseException:
        agent.stop()
        raise
    # Only now: importing it brings gRPC in, which nothing here needs before.
    from mkrpc.host.link import serve

    return serve(agent)


if __name__ == "__main__":
    sys.exit(main())
