"""Storage of a search's trials."""

from pathlib import Path
from typing import Any


def open_storage(path: Path) -> Any:
    """The Optuna storage in the SQLite file ``path``."""
    from optuna.storages import RDBStorage

    # Seconds to wait while a parallel job writes to the file.
    return RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})
