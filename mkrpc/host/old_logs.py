"""The logs of instances that were deleted: the last ones stay, for whoever looks for what happened.

Names are free, so that a cluster in which instances come and go would else have ever more files.
"""

from collections import deque
from pathlib import Path

__all__ = ["MAX_OLD_LOGS", "OldLogs"]

MAX_OLD_LOGS = 64
"""Deleted instances whose logs stay."""


class OldLogs:
    """``directory``: where the logs are, ``NAME.log`` and ``NAME.log.1``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._names: deque[str] = deque()

    def deleted(self, name: str) -> None:
        """The log of this instance is an old one; the oldest of too many is removed."""
        self.created(name)
        self._names.append(name)
        if len(self._names) > MAX_OLD_LOGS:
            oldest = self._names.popleft()
            for end in (".log", ".log.1"):
                (self._directory / f"{oldest}{end}").unlink(missing_ok=True)

    def created(self, name: str) -> None:
        """There is an instance of this name again, which goes on with its log."""
        if name in self._names:
            self._names.remove(name)
