"""Variables that libraries read from the environment when they are imported. Imports no torch."""

import os

# How many times an idle OpenMP thread looks for work before it sleeps. With the default of GNU's library, 300,000, it
# spins through most of the pauses of a run, on a core that other processes need: beside two of them on two cores the
# default run took seven times as long. With 20,000 it yields, and a machine of one's own is as fast as ever.
_SPINS = "20000"


def prepare() -> None:
    """Set what makes runs fast on a CPU, unless the user has; to be called before torch is imported."""
    # Large tensors come in huge pages: without, half the time of filling one goes into page faults.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def share_cores() -> None:
    """Let the threads of processes that are started from now on sleep at once: other runs use the same cores."""
    if os.environ.get("GOMP_SPINCOUNT") == _SPINS:
        del os.environ["GOMP_SPINCOUNT"]  # it would override the policy
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
