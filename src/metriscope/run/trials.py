"""Storage of a search's trials."""

from pathlib import Path
from typing import Any


def open_storage(path: Path) -> Any:
    """The SQLite file that holds the trials of a search."""
    from optuna.storages import RDBStorage

    # Jobs that run side by side wait for one another's reports.
    return RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})
