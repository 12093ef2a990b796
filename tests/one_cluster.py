"""Of the processes that run tests side by side, one alone runs those that start processes.

Side by side they would wait for cores, and for leases and time-outs of each other's making.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

__all__ = ["OneCluster", "pytest_xdist_make_scheduler"]

MARK = "mark.e2e"


class OneCluster(LoadScopeScheduling):
    """Tests go one by one to whoever is free; those of files with the mark to one, in order.

    pytest-xdist's own groups (``--dist loadgroup``) are names that it gives to tests, which pytest
    9.2 lets nobody change (pytest-xdist's issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return MARK if _starts_processes(self.config.rootpath / path) else nodeid


@cache
def _starts_processes(path: Path) -> bool:
    return MARK in path.read_text()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneCluster:
    """Whatever ``--dist`` says."""
    return OneCluster(config, log)
