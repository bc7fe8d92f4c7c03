"""Memory that is freed stays with the process, for the tensors of the next step: asking the system for it anew costs a page
fault every four kilobytes."""

import ctypes
import os
import sys

LARGEST = 32 << 20
"""Bytes up to which memory is kept, the most that glibc takes for this; larger tensors go back to the system when freed."""
KEPT = 512 << 20
"""Bytes that are free at the end of the heap and are kept nevertheless."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
CHOSEN_BY_USER = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def keep_freed() -> None:
    """Sets it for this process, under Linux with glibc, unless the user has chosen. Those that it starts set it themselves."""
    if sys.platform != "linux" or any(name in os.environ for name in CHOSEN_BY_USER):
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:  # musl has none
        set_option(_MMAP_THRESHOLD, LARGEST)
        set_option(_TRIM_THRESHOLD, KEPT)
