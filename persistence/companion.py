"""The small folder beside a store: locks, run slots and the owner's socket, each mode 0600.

``board.db`` gets ``board.db.callboard/``. Nothing durable is in it: with no process running it may
be deleted. Links are resolved first, so that two names of one file share one folder.
"""

from __future__ import annotations

import os
from pathlib import Path

# sun_path holds 108 bytes with its closing zero; leave room for a temporary name.
_LONGEST_SOCKET = 100


class Companion:
    """Where the files beside a store are.

    Args:
        store: path of the database file.

    """

    def __init__(self, store: Path) -> None:
        """Work out the folder; make nothing."""
        real = store.resolve()
        self.folder = real.with_name(real.name + ".callboard")
        self._bell = self.folder / "bell"
        self._short = len(os.fsencode(self._bell)) <= _LONGEST_SOCKET

    def make(self) -> Path:
        """Make the folder, mode 0700, if it is not there; returns it.

        Raises:
            OSError: it cannot be made.

        """
        self.folder.mkdir(mode=0o700, exist_ok=True)
        return self.folder

    @property
    def owner(self) -> Path:
        """The lock file that the owner holds."""
        return self.folder / "owner"

    @property
    def slots(self) -> Path:
        """The run slots: which message each thread is running."""
        return self.folder / "slots"

    @property
    def socket(self) -> Path:
        """The owner's socket; in the runtime directory when the path would be too long."""
        if self._short:
            return self._bell
        import tempfile  # 3 ms that `import callboard` need not take

        status = self.folder.stat()
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        return Path(base) / f"callboard-{os.getuid()}-{status.st_dev:x}-{status.st_ino:x}"
