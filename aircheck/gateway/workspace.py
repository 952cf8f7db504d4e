"""A gateway's name in /dev/shm and its folder, which each Triton that it starts gets anew.

Whoever is killed removes nothing. The reaper does that for the gateway; where both are killed, the next gateway does it
when it starts. It knows what belongs to nobody by a lock, flock(2), which ends with its process however that ends, and
which holds between containers that share /dev/shm, where process ids say nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import secrets
import tempfile
from pathlib import Path

from aircheck.gateway import reaper
from aircheck.triton import TritonError


class Workspace:
    """Holds its lock from creation to `close`."""

    def __init__(self, stem: str) -> None:
        """Removes first what gateways of this user have left under names that begin with `stem`.

        Raises TritonError where /dev/shm or the folder for temporary files cannot be used.
        """
        remove_orphans(stem)
        self.name = f"{stem}_{os.getpid()}_{secrets.token_hex(8)}"  # of which nobody knows before it is there
        self.folder = _folder(self.name)
        """Of mode 0700, for all that this gateway keeps beside shared memory."""
        owner = reaper.owner(self.name)
        try:
            # under another name until it is locked, or a gateway that starts meanwhile would take it for an orphan
            self._lock = os.open(f"{owner}.new", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            os.rename(f"{owner}.new", owner)
            self.folder.mkdir(mode=0o700)
        except OSError as error:
            raise TritonError(f"{error.filename} cannot be made: {error.strerror}") from None

    @property
    def run_dir(self) -> Path:
        """For Triton's sockets; the same at every start, so that its address is."""
        return self.folder / reaper.RUN_DIR

    def clean(self) -> None:
        """Removes what a Triton left that has ended."""
        reaper.clean(self.name, str(self.folder))

    def close(self) -> None:
        """Removes all of it."""
        reaper.clean_all(self.name, str(self.folder))
        os.close(self._lock)


def remove_orphans(stem: str) -> None:
    """Removes what gateways of this user that begin with `stem` left, where neither they nor their reapers live."""
    for owner in glob.glob(reaper.owner(f"{glob.escape(stem)}_*")):
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            lock = os.open(owner, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while its owner lives
                    name = reaper.name_of(owner)
                    reaper.clean_all(name, str(_folder(name)))
            finally:
                os.close(lock)


def _folder(name: str) -> Path:
    return Path(tempfile.gettempdir(), name)
