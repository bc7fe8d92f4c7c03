"""How threads wait for each other, set before PyTorch is imported: afterwards nobody asks."""

import os

SPINS = 3000
"""Times that a thread looks whether the others are ready before it sleeps, of GNU's OpenMP (libgomp: 300,000 by itself).
Looking for long costs a busy machine most of its time, sleeping at once a quiet one a third: `bench/waiting.py` measures both."""

CHOSEN_BY_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def settle() -> None:
    """Sets it for this process and those that it starts, unless the user has chosen."""
    if not any(name in os.environ for name in CHOSEN_BY_USER):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
