"""Memory that glibc would keep."""

from __future__ import annotations

import contextlib
import ctypes
import gc

MAPPED_BYTES = 256 * 2**10
_M_MMAP_THRESHOLD = -3  # of malloc.h


def trim() -> None:
    """Gives the system back what loading freed, which glibc would keep: some 300 MB for each model."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def map_large_blocks() -> None:
    """Has blocks of MAPPED_BYTES and more returned to the system as soon as they are freed, in this process.

    glibc soon takes them from the heap (mallopt(3): M_MMAP_THRESHOLD grows with what is freed). What is small
    and kept between them holds that heap open: a window's samples take 2 MB, its verdict 4 kB.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
