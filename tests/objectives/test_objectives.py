"""A sum of objectives: what they share, and what each has of its own."""

import pytest
import torch
from oracles import embeddings
from tiny_runs import COMPOSER
from toy_parts import Alike, Between

from metriscope.build.run import objective_of
from metriscope.callbacks.greediness import judged_matrices, pull_measures
from metriscope.config.plain import plain
from metriscope.errors import InputError
from metriscope.losses import ContrastiveLoss, InfoNCELoss, SupConLoss, TripletLoss
from metriscope.miners import RandomMiner
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.objectives import Objectives
from metriscope.objectives.references.memory import CrossBatchMemory
from metriscope.objectives.samples import Moment, Spaces

LABELS = torch.tensor([0, 0, 0, 1, 1, 2])


def spaces(trunk=False):
    z = embeddings([0] * 6)
    features = embeddings([0] * 6, size=7, seed=1) if trunk else None
    return Spaces.of(z, LABELS, torch.arange(6), trunk=features)


def moment(seed=0):
    return Moment(generator=torch.Generator().manual_seed(seed))


def test_the_sum_is_the_weighted_sum():
    distance, miner, batch = Euclidean(), AllMiner(), spaces()
    losses = [TripletLoss(0.5), ContrastiveLoss()]
    step = Objectives([Objective(distance, miner, loss) for loss in losses], [2.0, 0.25])(batch)
    each = [Objective(distance, miner, loss)(batch).output for loss in losses]
    torch.testing.assert_close(step.output.value, 2 * each[0].value + 0.25 * each[1].value)
    assert step.output.terms == each[0].terms + each[1].terms
    assert step.output.active == each[0].active + each[1].active
    assert step.output.parts["loss_1"] == each[1].value
    assert step.output.parts["active_ratio_0"] == each[0].active / each[0].terms


def test_what_is_equal_is_compared_and_selected_once():
    distance, miner = Euclidean(), RandomMiner(2)
    step = Objectives([Objective(distance, miner, TripletLoss()) for _ in range(2)], [1, 1])(spaces(), moment())
    first, second = step.accounts
    assert first.comparison is second.comparison
    assert first.selection is second.selection
    assert len(judged_matrices(step)) == 1


def test_random_streams_go_by_position():
    def drawn(objectives):
        step = Objectives(objectives, [1] * len(objectives))(spaces(), moment(3))
        return [account.selection.negative.tolist() for account in step.accounts]

    one, other = (
        Objective(Euclidean(), RandomMiner(9), TripletLoss()),
        Objective(Cosine(), RandomMiner(9), TripletLoss()),
    )
    alone = Objective(Euclidean(), RandomMiner(9), TripletLoss())(spaces(), moment(3)).accounts[0].selection
    both = drawn([one, other])
    assert both[0] == alone.negative.tolist()
    assert both[0] != both[1]
    assert drawn([one, other]) == both


def test_spaces_and_distances_of_their_own():
    batch = spaces(trunk=True)
    parts = [
        Objective(Euclidean(), AllMiner(), TripletLoss()),
        Objective(Cosine(), AllMiner(), SupConLoss()),
        Objective(Cosine(), AllMiner(), SupConLoss(), space="trunk"),
    ]
    summed = Objectives(parts, [1, 1, 1])
    assert summed.spaces == {"embedding", "trunk"}
    step = summed(batch)
    wanted = sum(part(batch).output.value for part in parts)
    torch.testing.assert_close(step.output.value, wanted)
    by_z, *by_pair = torch.autograd.grad(step.output.value, [batch.outputs["embedding"], *judged_matrices(step)])
    measures = pull_measures(step, by_pair, by_z, summed.hinge, 1e-3)
    assert {name for name in measures if "pairs" in name} == {f"active_ratio_pairs_{k}" for k in range(3)}
    for k, part in enumerate(parts):
        alone = part(batch)
        z = batch.outputs[part.space]
        by_own, *pairs = torch.autograd.grad(alone.output.value, [z, *judged_matrices(alone)])
        found = pull_measures(alone, pairs, by_own, part.hinge, 1e-3)["active_ratio_pairs"]
        assert measures[f"active_ratio_pairs_{k}"] == found


def test_a_memory_in_common_observes_once():
    memory, distance = CrossBatchMemory(20, 4), Euclidean()
    parts = [Objective(distance, AllMiner(), loss, [memory]) for loss in (TripletLoss(), ContrastiveLoss())]
    summed = Objectives(parts, [1, 1]).double()
    summed(spaces())
    assert (int(memory.steps), int(memory.position)) == (1, 6)
    assert memory.index[:6].tolist() == list(range(6))
    assert len(summed(spaces()).accounts[0].comparison.references.labels) == 26


def test_synthetic_references_are_negatives_of_other_classes_alone():
    objective = Objective(Euclidean(), AllMiner(), TripletLoss(), [Between()])
    comparison = objective(spaces(), moment()).comparison
    assert comparison.shape == (6, 12)
    assert not comparison.positive[:, 6:].any()
    assert torch.equal(comparison.negative[:, 6:], LABELS.unsqueeze(1) != LABELS)
    assert objective.eval()(spaces(), moment()).comparison.shape == (6, 6)


def test_a_config_builds_parts_in_common_once():
    entries = "[{name: triplet}, {name: margin, miner: distance_weighted}, {name: supcon, distance: cosine}]"
    cfg = COMPOSER(["loss=sum", f"loss.losses={entries}", "memory=xbm", "miner=all"])
    first, second, third = objective_of(plain(cfg), 3, 4)
    assert first.distance is second.distance is not third.distance
    assert first.miner is third.miner is not second.miner
    assert first.references[0] is second.references[0] is third.references[0]


def test_another_space_has_parts_of_its_own_even_of_one_size():
    words = ["loss=sum", "loss.losses=[{name: triplet}, {name: nca, space: trunk}]", "memory=xbm"]
    first, second = objective_of(plain(COMPOSER(words)), 3, 4, trunk_size=4)
    assert first.references[0] is not second.references[0]


def test_arguments_of_an_entry_stand_beside_its_name_or_below():
    values = []
    for entry in ("{name: triplet, margin: 0.7}", "{name: triplet, arguments: {margin: 0.7}}"):
        words = ["loss=sum", f"loss.losses=[{entry[:-1]}, miner: semihard}}]"]
        (only,) = objective_of(plain(COMPOSER(words)), 3, 4)
        values.append((only.loss.margin, only.miner.band.high))
    assert values == [(0.7, 0.7)] * 2


@pytest.mark.parametrize("weights", [[], [1.0, 2.0]])
def test_one_weight_for_each(weights):
    with pytest.raises(InputError, match="give one weight for each"):
        Objectives([Objective(Euclidean(), AllMiner(), TripletLoss())], weights)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_are_not_below_zero(weight):
    with pytest.raises(InputError, match=r"^weights=\[.*\]: they have to be numbers of at least 0"):
        Objectives([Objective(Euclidean(), AllMiner(), TripletLoss())], [weight])


def test_an_affinity_of_another_space_reaches_the_memory():
    words = ["loss=infonce", "memory=xbm", "memory.size=20", "memory.warmup_steps=0"]
    config = plain(COMPOSER(words))
    config["weighting"] = {"name": "alike", "_target_": "toy_parts.Alike"}
    objective = objective_of(config, 3, 4, trunk_size=7).double()
    batch = spaces(trunk=True)
    objective(batch)
    account = objective(batch).accounts[0]
    unit = torch.nn.functional.normalize(batch.outputs["trunk"].detach(), dim=1)
    wanted = (1 - unit @ unit.T) / 2
    torch.testing.assert_close(account.selection.negative_weights[:, :12], torch.cat([wanted, wanted], 1))
    assert objective.references[0].affine.shape == (20, 7)
    with pytest.raises(InputError, match="there is no space trunk"):
        objective(spaces())


def test_synthetic_references_without_an_affinity_say_so():
    objective = Objective(Euclidean(), AllMiner(), InfoNCELoss(), [Between()], Alike())
    with pytest.raises(InputError, match="some samples have no affinity"):
        objective(spaces(trunk=True), moment())
