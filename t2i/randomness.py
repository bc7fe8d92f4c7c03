"""Random numbers as functions of what they are for, never of a global state.

`generator(seed, "noise", epoch, sample_id)` gives the same numbers on every machine, for every batch size and
every number of processes, so that a run resumes exactly and two runs differ only where they are meant to.
"""

import hashlib

import numpy as np


def generator(*parts: int | str) -> np.random.Generator:
    """A Philox generator (counter-based; Salmon et al., SC 2011) keyed by the 128-bit BLAKE2b digest of `parts`."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


def integer(*parts: int | str) -> int:
    """A 63-bit integer from `parts`: a seed for libraries that want one number."""
    return int(generator(*parts).integers(0, 2**63))
