"""Logs of the processes: one JSON object a line, on standard error.

What the emulated kernels print is not here: that is the printk ring (``mkrpc dmesg``).
"""

import logging
import sys

import structlog

__all__ = ["configure"]


def configure(process: str, *, level: int = logging.INFO) -> None:
    """Log as ``process``, such as ``interconnect`` or ``instance mk1``, from here on."""
    logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s", force=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(process=process)
