"""Where a test lies: that of ``src/metriscope/a/b.py`` in ``tests/a/test_b.py``."""

from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
# Of whole runs, or of many modules together.
BEYOND_ONE_MODULE = {
    "browser/test_page_in_browser.py",
    "data/test_paired_batches.py",
    "fair/test_interrupted_studies.py",
    "golden/test_curves.py",
    "objectives/kernels/test_compiled.py",
    "objectives/kernels/test_formulas.py",
    "objectives/kernels/test_half_precision.py",
    "objectives/kernels/test_memory.py",
    "objectives/kernels/test_modes.py",
    "objectives/kernels/test_slopes.py",
    "objectives/losses/test_parts_beside_the_terms.py",
    "objectives/references/test_every_references.py",
    "objectives/test_against_peer.py",
    "objectives/test_bound_to_classes.py",
    "objectives/test_every_part.py",
    "objectives/test_pairs_across.py",
    "objectives/test_shared_anchors.py",
    "objectives/test_tangent.py",
    "objectives/test_without_waiting.py",
    "objectives/mixtures/test_every_mixture.py",
    "objectives/weightings/test_every_weighting.py",
    "scripts/test_benchmark_commits.py",
    "serving/test_paired.py",
    "slurm/test_slurm.py",
    "sweeps/test_own_parts.py",
    "sweeps/test_parallel.py",
    "test_broken_files.py",
    "test_compile.py",
    "test_configs.py",
    "test_dataset_runs.py",
    "test_distributed.py",
    "test_docstrings.py",
    "test_doors.py",
    "test_embed_chunk_runs.py",
    "test_extending.py",
    "test_frozen_trunks.py",
    "test_hostile_study.py",
    "test_interruption.py",
    "test_layout.py",
    "test_package.py",
    "test_paired_runs.py",
    "test_parts_name_themselves.py",
    "test_pretended_gpu.py",
    "test_readme.py",
    "test_similar_classes_runs.py",
    "test_suspects_runs.py",
    "test_verification_runs.py",
    "test_views_runs.py",
    "test_written_runs.py",
}


def module_of(path: Path) -> Path:
    """The module that a test is named after, from the folder that holds all of its kind."""
    return path.with_name(path.name.removeprefix("test_"))


def test_every_test_lies_where_its_module_lies() -> None:
    """A script's test lies in ``tests/scripts/``, that of a helper of tests beside the helper."""
    tests = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    places = (ROOT / "src" / "metriscope", ROOT, TESTS)
    astray = {path.as_posix() for path in tests if not any((place / module_of(path)).is_file() for place in places)}
    assert astray == BEYOND_ONE_MODULE
