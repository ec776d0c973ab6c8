"""The ledger of a fair comparison."""

import random

from metriscope.run.ledger import COMPLETE, FAILED, PRUNED, Row, read, write

FOLDS, TRIALS, ENTRIES = 4, 30, 12


def row(entry: int, trial: int, draw: random.Random) -> Row:
    """Of a search over as many keys as any part has, with every digit of every number."""
    status = draw.choice([COMPLETE, COMPLETE, PRUNED, FAILED])
    folds = tuple(draw.random() for _ in range({COMPLETE: FOLDS, PRUNED: 2, FAILED: 0}[status]))
    params = {f"loss.parameter_number_{key}": draw.random() for key in range(8)}
    value = sum(folds) / FOLDS if status == COMPLETE else None
    steps = None if status == FAILED else draw.randrange(10**5)
    name = f"multi_similarity_{entry}/multi_similarity/dbpm"
    return Row(name, trial, draw.randrange(2**31), "0123456789abcdef", params, folds, value, status, steps, 1234.567)


def test_a_large_study_has_a_small_ledger_that_reads_as_it_was_written(tmp_path):
    draw = random.Random(0)
    rows = [row(entry, trial, draw) for entry in range(ENTRIES) for trial in range(TRIALS)]
    write(tmp_path, rows, FOLDS)
    assert (tmp_path / "ledger.csv").stat().st_size < 5e6 / 10
    assert read(tmp_path, FOLDS) == rows
