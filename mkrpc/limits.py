"""Limits of a machine that both its description and its parts keep to."""

__all__ = ["MAX_CPUS", "MAX_HANDLERS", "MAX_INSTANCE_ID", "MAX_STORE_BUFFER"]

MAX_INSTANCE_ID = 511
"""As the kernel series: id 0 is the host instance, 1 to 511 are spawned ones."""

MAX_CPUS = 512
"""CPUs of one instance."""

MAX_HANDLERS = 64
"""Handlers registered for the multikernel interrupt of one instance."""

MAX_STORE_BUFFER = 64
"""Stores that wait in one CPU."""
