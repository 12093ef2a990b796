"""Open files: as many as the system lets this process have, and how many streams that is.

Each stream is a connection, and each connection a descriptor. When they run out, gRPC waits in
silence for some to come free; so a server refuses by name before they do.
"""

import os
import resource

__all__ = ["RESERVED_DESCRIPTORS", "left", "raise_limit", "room_for_connections"]

WANTED_DESCRIPTORS = 65_536
RESERVED_DESCRIPTORS = 192
"""For logs, books, event loops, beats, and to refuse those who come when there is no more room."""


def raise_limit() -> int:
    """Raise the soft limit of open files as far as the hard one lets it; what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = WANTED_DESCRIPTORS if hard == unlimited else min(WANTED_DESCRIPTORS, hard)
    if soft != unlimited and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return WANTED_DESCRIPTORS if soft == unlimited else soft


def room_for_connections() -> int:
    """Streams for which there are descriptors, at least one; the limit is raised first."""
    return max(1, raise_limit() - RESERVED_DESCRIPTORS)


def left() -> int:
    """Files that this process may still open; 0 also where not even that can be found out."""
    try:
        return raise_limit() - len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
