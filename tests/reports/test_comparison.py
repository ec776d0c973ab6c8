from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from studies import INTRA, RECALL, VALUES, config, known, made, write_run, write_study

from metriscope.errors import InputError
from metriscope.reports.comparison import compare, direction, pairs, select
from metriscope.reports.groups import group_runs
from metriscope.run.study import Study, load_study


def cells(study: Study, **options: Any) -> dict[tuple[str, str], Any]:
    found = compare(study, **options)
    return {(str(found.grouping.groups[place]), metric): cell for (place, metric), cell in found.cells.items()}


def test_a_key_that_no_run_has_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"loss\.nam: no run has this key; did you mean 'loss\.name'\?"):
        group_runs([made()], by=["loss.nam"])
    with pytest.raises(
        InputError, match=r"test/recal_at_1: no finished run has this metric; did you mean 'test/recall"
    ):
        compare(known(), metrics=["test/recal_at_1"])
    with pytest.raises(InputError, match="leave it out of --by"):
        group_runs([made()], by=["seed"])


def test_known_statistics() -> None:
    found = cells(known(), metrics=[RECALL, INTRA])
    cell = found["triplet", RECALL]
    assert cell.summary.n == 5
    assert cell.summary.mean == pytest.approx(0.86)
    assert cell.summary.std == pytest.approx(np.std(VALUES["triplet"], ddof=1))
    interval = stats.t.interval(0.95, 4, 0.86, stats.sem(VALUES["triplet"]))
    assert cell.summary.interval == pytest.approx(interval)
    assert cell.mark == "best"
    assert found["contrastive", RECALL].mark is None
    # Variance has no better end.
    assert {found[loss, INTRA].mark for loss in VALUES} == {None}


def test_what_cannot_be_told_from_the_best_is_tied() -> None:
    noisy = [0.86, 0.85, 0.87, 0.86, 0.85]
    found = cells(known(noisy=noisy), metrics=[RECALL])
    assert stats.ttest_rel(VALUES["triplet"], noisy).pvalue > 0.05
    assert [found[loss, RECALL].mark for loss in ("triplet", "noisy", "contrastive")] == ["best", "tied", None]


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("test/recall_at_10", 1),
        ("val/precision_at_1", 1),
        ("test/knn_accuracy", 1),
        ("best/val/map_at_r", 1),
        ("train/loss", -1),
        ("train/loss_mean", -1),
        ("val/loss_1", -1),
        ("test/mrr", 1),
        ("test/nmi", 1),
        ("test/recall_at_1_trunk", 1),
        ("test/unheard_of", 0),
        ("test/variance_intra", 0),
        ("train/loss_decay_fit", 0),
        ("train/grad_norm", 0),
    ],
)
def test_better_is_where_the_field_says(metric: str, better: int) -> None:
    assert direction(metric) == better


def test_a_record_describes_what_the_registry_does_not_know() -> None:
    def runs(*ends: Any) -> Study:
        return Study(
            "trial",
            [
                made({"test/own": value + seed}, loss__name=name, seed=seed, record={"metrics": {"own": entry}})
                for seed, entry in enumerate(ends)
                for name, value in (("a", 1.0), ("b", 2.0))
            ],
        )

    down, up = ["my own", "min"], ["my own", "max"]
    assert cells(runs(down, down))["a", "test/own"].mark == "best", "compared although nothing asks for it"
    assert cells(runs(up, up))["b", "test/own"].mark == "best"
    for ends in ((down, up), (["my own", None],) * 2, (["my own", "left"],) * 2):
        assert {cell.mark for cell in cells(runs(*ends)).values()} == {None}
    wrong = made(record={"metrics": {"recall_at_1": ["Recall", "min"]}}, loss__name="a")
    assert compare(Study("trial", [wrong])).direction(RECALL) == 1, "the registry has the first word"


def test_a_loss_is_best_where_it_is_least() -> None:
    runs = [made({"train/loss": v}, loss__name=name, seed=s) for name, v in (("a", 1.0), ("b", 2.0)) for s in (0, 1)]
    assert cells(Study("trial", runs), metrics=["train/loss"])["a", "train/loss"].mark == "best"


def test_contrasts_are_paired_by_seed_and_adjusted_together() -> None:
    third = [0.81, 0.82, 0.83, 0.80, 0.83]
    study = known(third=third)
    found = compare(study, metrics=[RECALL], baseline={"loss.name": "contrastive"})
    lines = {line.group.values["loss.name"]: line for line in found.contrasts}
    assert lines.keys() == {"triplet", "third"}
    raw = {
        loss: stats.ttest_rel(v, VALUES["contrastive"]).pvalue
        for loss, v in [("third", third), ("triplet", VALUES["triplet"])]
    }
    assert lines["triplet"].difference.p_t == pytest.approx(raw["triplet"])
    smaller, larger = sorted(raw, key=raw.__getitem__)
    assert lines[smaller].p_t_holm == pytest.approx(2 * raw[smaller])
    assert lines[larger].p_t_holm == pytest.approx(max(raw[larger], 2 * raw[smaller]))
    assert lines["triplet"].difference.mean == pytest.approx(0.05)


def test_only_common_seeds_make_pairs() -> None:
    runs = [made(0.1 * s, loss__name="a", seed=s) for s in (0, 1, 2)]
    runs += [made(0.1 * s + 0.05 * s, loss__name="b", seed=s) for s in (5, 2, 1)]
    study = Study("trial", runs)
    (line,) = compare(study, metrics=[RECALL], baseline={"loss.name": "a"}).contrasts
    assert line.difference.n == 2
    assert line.difference.mean == pytest.approx(0.075)
    apart = Study("trial", [made(loss__name="a", seed=0), made(loss__name="b", seed=1)])
    found = compare(apart, baseline={"loss.name": "a"})
    assert not found.contrasts
    assert any("b and a have no seed in common" in note for note in found.notes)


def test_the_baseline_is_the_closest_on_the_same_data() -> None:
    runs = [
        made(v, dataset__name=data, loss__name=loss, miner__name=miner, seed=s)
        for data in ("x", "y")
        for loss, miner, v in (("c", "all", 0.1), ("t", "all", 0.2), ("t", "hard", 0.3))
        for s in (0, 1)
    ]
    found = compare(Study("trial", runs), metrics=[RECALL], baseline={"loss.name": "c"})
    assert {(str(line.group), str(line.baseline)) for line in found.contrasts} == {
        (f"{data}, t, {miner}", f"{data}, c, all") for data in "xy" for miner in ("all", "hard")
    }
    runs = [run for run in runs if run.config["loss.name"] == "t"]
    runs.append(made(0.1, dataset__name="x", loss__name="c", miner__name="none", seed=0))
    with pytest.raises(InputError, match=r"x, t, all and x, t, hard both fit x, c, none; give miner\.name too"):
        compare(Study("trial", runs), metrics=[RECALL], baseline={"loss.name": "t"})


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        ({"loss.name": "contrastiv"}, r"no group has this value; did you mean 'contrastive'\?"),
        ({"miner.name": "all"}, r"baseline miner\.name: groups are by loss\.name; add it to --by"),
    ],
)
def test_a_baseline_that_is_not_there(baseline: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        compare(known(), baseline=baseline)


def test_a_single_seed_has_no_interval_and_says_so() -> None:
    study = Study("trial", [made(loss__name=loss) for loss in "ab"])
    found = compare(study, metrics=[RECALL])
    assert all(cell.summary.interval is None for cell in found.cells.values())
    assert "2 of 2 groups hold a single run (n = 1): no interval and no test for them" in found.notes


def test_groups_that_mix_data_sets_say_so_and_pair_within() -> None:
    runs = [
        made(v + 0.4 * (data == "y"), dataset__name=data, loss__name=loss, seed=s)
        for data in "xy"
        for loss, v in (("a", 0.1), ("b", 0.2))
        for s in (0, 1)
    ]
    found = compare(Study("trial", runs), by=["loss.name"], metrics=[RECALL])
    assert "groups mix runs that differ in dataset.name: their spread is not one over seed alone" in found.notes
    first, second = found.grouping.groups
    assert pairs(found.grouping, first, second, RECALL) == (
        [0.1, 0.5, 0.1, 0.5],
        [0.2, 0.6000000000000001, 0.2, 0.6000000000000001],
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"backbone__name": "resnet50"},
            "backbone differs on digits: backbone.name is resnet50 (1 run), small_cnn (1 run)",
        ),
        ({"sampler__batch_size": 64}, "batch differs on digits: sampler.batch_size is"),
        ({"trainer__max_epochs": 99}, "budget differs on digits: trainer.max_epochs is"),
        (
            {"augmentation__flip": True},
            "augmentation differs on digits: augmentation.flip is false (1 run), true (1 run)",
        ),
        (
            {"augmentation___target_": "a.B", "augmentation__pad": 2},
            "augmentation differs on digits: augmentation.pad is - (1 run), 2 (1 run)",
        ),
        ({"dataset__protocol": "class_disjoint"}, "protocol differs on digits: dataset.protocol is"),
        ({"head__size": 7}, "embedding size differs on digits: head.size is"),
    ],
)
def test_what_should_be_equal_and_is_not_is_told(changes: dict[str, Any], said: str) -> None:
    runs = [made(loss__name="a"), made(loss__name="b", **changes)]
    lines = [line for line in compare(Study("trial", runs)).notes if " differs on " in line]
    assert len(lines) == 1
    assert lines[0].startswith(said)
    grouped = compare(Study("trial", runs), by=[key.replace("__", ".") for key in changes]).notes
    assert any(", in groups of their own: " in line for line in grouped)


def test_companions_of_a_data_set_may_differ() -> None:
    runs = [made(dataset__name="x", backbone__name="mlp"), made(dataset__name="y", backbone__name="resnet18")]
    assert not [line for line in compare(Study("trial", runs)).notes if "differs" in line]


def test_mixed_versions_are_told() -> None:
    old, new = (
        {"versions": {"torch": v, "numpy": "2.0"}, "git": {"commit": v * 9, "dirty": False}} for v in ("24", "26")
    )
    runs = [made(seed=0, record=old), made(seed=1, record=new), made(seed=2, record=new)]
    notes = compare(Study("trial", runs)).notes
    assert "versions are mixed: torch 26 (2 runs), 24 (1 run)" in notes
    assert "the code is mixed: commit 26262626 (2 runs), 24242424 (1 run)" in notes
    assert not any("numpy" in line for line in notes)


def test_data_that_are_not_complete_are_named() -> None:
    said = {"content": {}, "incomplete": "CARS196 is not complete: 8144 images instead of 16185"}
    runs = [made(seed=0, record={"data": said}), made(seed=1, record={"data": said}), made(seed=2, record={"data": {}})]
    assert compare(Study("trial", runs)).notes[0] == f"{said['incomplete']} (2 runs, dataset.verify=false)"
    assert not any("complete" in note for note in compare(Study("trial", [made(), *runs[2:]])).notes)


def test_runs_left_out_are_named() -> None:
    study = Study("trial", [made(), made(seed=1, status="failed")], ["x/run.json is missing; left out"])
    notes = compare(study).notes
    assert notes[0] == "x/run.json is missing; left out"
    assert notes[1] == "seed=1 is not finished (failed); left out"
    with pytest.raises(InputError, match="no run has finished; seed=1"):
        compare(Study("trial", study.runs[1:]))
    many = Study("trial", [made(), *(made(seed=s, status="running") for s in range(1, 40))])
    assert sum("is not finished" in line for line in compare(many).notes) == 20
    assert "and 19 more runs like these" in compare(many).notes


def test_runs_can_be_chosen() -> None:
    assert len(select(known(), {"loss.name": "triplet"}).runs) == 5
    with pytest.raises(InputError, match="did you mean"):
        select(known(), {"loss.nme": "triplet"})
    with pytest.raises(InputError, match=r"no run of trial has loss\.name=x"):
        select(known(), {"loss.name": "x"})


def test_from_folders_to_figures(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {"contrastive": 0.6, "triplet": 0.9}, seeds=3)
    write_run(config(tmp_path, "dataset=synthetic", seed=9), status="running")
    found = compare(load_study(folder), baseline={"loss.name": "contrastive"})
    assert found.grouping.by == ["loss.name"]
    assert RECALL in found.metrics
    assert {line.difference.n for line in found.contrasts} == {3}
    assert found.contrasts[0].difference.mean == pytest.approx(0.3, abs=0.05)
    assert len(found.notes) == 1
