"""``python -m mkrpc.host STATE_DIR``, which ``mkrpc up`` runs.

It starts the fork server, the interconnect and the instances, and then attaches to the
interconnect, so that Control can start and kill instances. It tells its launcher how it goes in
JSON lines on standard output, and ends when it is told to, or when the interconnect has ended.
"""

import signal
import sys
from pathlib import Path

from mkrpc import logs
from mkrpc.errors import MkrpcError
from mkrpc.host.agent import HostAgent


def main() -> int:
    """Run the host agent of the state directory named on the command line."""
    logs.configure("host agent")
    agent = HostAgent(Path(sys.argv[1]))
    # Until the event loop runs, SIGTERM must still end the children that have started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        agent.start()
    except MkrpcError as error:
        agent.failed(error)
        agent.stop()
        return 1
    except SystemExit:
        agent.stop()
        raise
    # Only now: importing it brings gRPC in, and the fork server must have started without.
    from mkrpc.host.link import serve

    return serve(agent)


if __name__ == "__main__":
    sys.exit(main())
