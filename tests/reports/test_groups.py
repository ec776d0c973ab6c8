from dataclasses import replace

import pytest
from studies import made

from metriscope.errors import InputError
from metriscope.reports.groups import FOLD, group_runs, label


def test_groups_are_told_apart_by_as_few_keys_as_do() -> None:
    runs = [made(seed=s, loss__name=loss, loss__margin=m) for s in (0, 1) for loss in ("a", "b") for m in (1, 2)]
    grouping = group_runs(runs)
    assert grouping.by == ["loss.name", "loss.margin"]
    assert [str(group) for group in grouping.groups] == ["a, margin=1", "a, margin=2", "b, margin=1", "b, margin=2"]
    assert all([run.config["seed"] for run in group.runs] == [0, 1] for group in grouping.groups)
    # The margin goes with the loss: it tells nothing more.
    runs = [made(seed=s, loss__name=loss, loss__margin=m) for s in (0, 1) for loss, m in (("a", 1), ("b", 2))]
    assert group_runs(runs).by == ["loss.name"]
    assert group_runs(runs[:1]).by == ["dataset.name", "loss.name"]


def test_where_and_how_fast_a_run_ran_makes_no_group() -> None:
    runs = [made(seed=s, loss__name="a", paths__data_dir=str(s), resume=str(s), trainer__name=str(s)) for s in (0, 1)]
    assert len(group_runs(runs).groups) == 1


@pytest.mark.parametrize("by", [(), ("loss.name",)])
def test_runs_on_wrong_labels_are_never_pooled_with_others(by: tuple[str, ...]) -> None:
    noise = (None, 0, 0.2, 0.4)  # null and 0 are the same
    runs = [made(seed=s, loss__name=loss, dataset__label_noise=n) for s in (0, 1) for loss in "ab" for n in noise]
    old = made(seed=2, loss__name="a")
    old = replace(old, config={key: value for key, value in old.config.items() if "label_noise" not in key})
    grouping = group_runs([*runs, old], by)
    assert grouping.by == ["loss.name", "dataset.label_noise"]
    sizes = {str(group): len(group.runs) for group in grouping.groups}
    clean = {"a, label_noise=0": 5, "b, label_noise=0": 4}
    assert sizes == clean | {f"{loss}, label_noise={share}": 2 for loss in "ab" for share in (0.2, 0.4)}
    assert len({group.block for group in grouping.groups}) == 3
    assert not grouping.mixed
    pairs = [made(seed=s, loss__name="a", dataset__label_noise=0.2, dataset__label_noise_pairs=p)
             for s in (0, 1) for p in (None, {"0": 1}, {"1": 0})]  # fmt: skip
    assert [len(group.runs) for group in group_runs(pairs, by).groups] == [2, 2, 2]


def test_runs_that_are_scored_by_other_labels_are_never_pooled() -> None:
    runs = [
        made(seed=s, loss__name=loss, dataset__test_labels=by)
        for s in (0, 1)
        for loss in "ab"
        for by in (None, "coarse")
    ]
    grouping = group_runs(runs, ("loss.name",))
    assert grouping.by == ["loss.name", "dataset.test_labels"]
    assert [len(group.runs) for group in grouping.groups] == [2, 2, 2, 2]


def test_a_sum_is_told_by_the_names_of_its_losses() -> None:
    def of(margin: float, weight: float = 1.0) -> list[dict[str, object]]:
        target = "metriscope.objectives.losses.triplets.triplet.TripletLoss"
        return [
            {"name": "triplet", "_target_": target, "margin": margin},
            {"name": "arcface", "weight": weight, "miner": {"name": "none"}},
        ]

    runs = [made(loss__name="sum", loss__losses=of(*one)) for one in ((0.1,), (0.1, 0.5))]
    assert [str(group) for group in group_runs(runs).groups] == ["triplet+0.5*arcface", "triplet+arcface"]
    # What differs is said where the names do not tell.
    runs = [made(loss__name="sum", loss__losses=of(margin)) for margin in (0.1, 0.2)]
    assert [str(group) for group in group_runs(runs).groups] == [
        "triplet(margin=0.1)+arcface",
        "triplet(margin=0.2)+arcface",
    ]
    runs = [made(loss__name="triplet"), made(loss__name="sum", loss__losses=of(0.1))]
    assert [str(group) for group in group_runs(runs, ["loss.losses"]).groups] == ["-", "triplet+arcface"]


def test_numbers_sort_as_numbers() -> None:
    groups = group_runs([made(loss__margin=m) for m in (10, 9, 0.5)]).groups
    assert [group.values["loss.margin"] for group in groups] == ["0.5", "9", "10"]


def test_values_read_as_on_the_command_line() -> None:
    groups = group_runs([made(head__normalize=v) for v in (True, None)]).groups
    assert [str(group) for group in groups] == ["normalize=null", "normalize=true"]
    assert label({}) == "all runs"


def test_parts_by_name_tell_runs_apart_by_their_class() -> None:
    for key, name, loss in (("evaluation.metrics", "mrr", "MRR"), ("diagnostics", "variance", "VarianceMonitor")):
        whole = made()
        without = {k: v for k, v in whole.config.items() if not k.startswith(f"{key}.{name}.")}
        other = replace(whole, config={**without, f"{key}.{name}": None})
        grouping = group_runs([whole, other])
        assert [group.values for group in grouping.groups] == [{f"{key}.{name}": loss}, {f"{key}.{name}": "null"}]
    deeper = made(evaluation__metrics__recall_at__k=[1, 9])
    assert group_runs([whole, deeper]).by == ["evaluation.metrics.recall_at.k"]


def test_the_spread_over_seeds_is_never_mixed_with_that_over_folds() -> None:
    runs = [made(seed=s, dataset__fold=f, loss__name=loss) for s in (0, 1) for f in (0, 1) for loss in "ab"]
    assert group_runs(runs).by == ["loss.name", FOLD]
    with pytest.raises(InputError, match=r"mix the spread over dataset\.fold with that over seed: add dataset\.fold"):
        group_runs(runs, by=["loss.name"])
    with pytest.raises(InputError, match="mix the spread over seed with that over"):
        group_runs(runs, by=["loss.name"], over=FOLD)
    over_folds = group_runs(runs, over=FOLD)
    assert over_folds.by == ["loss.name", "seed"]
    assert {len(group.runs) for group in over_folds.groups} == {2}
    assert group_runs([run for run in runs if run.config["seed"] == 0], by=["loss.name"], over=FOLD).mixed == []
