"""The greediness callback end to end: what it logs against what the steps were, recomputed by hand."""

import math

import pytest
import pytorch_lightning as pl
import torch
from oracles import FROM_DISTANCE, distance_table, pairs, triplet_account, triplets_of

from metriscope.build.run import data_of, learner_of
from metriscope.callbacks import greediness
from metriscope.callbacks.evaluation import EvaluationMonitor
from metriscope.callbacks.greediness import GreedinessMonitor
from metriscope.config.plain import plain
from metriscope.diagnostics.hardness import BatchHardness
from metriscope.run.history import read_history
from metriscope.tracking.history import HistoryLogger

MARGIN = 0.3
THRESHOLD = 0.05
ASKED = ("negative_spread", "batch_hardness")


class Witness(pl.Callback):
    """Keeps what is needed to judge every step again."""

    def __init__(self):
        self.steps, self.parameters = [], []
        self.evaluated = None

    def on_before_backward(self, trainer, pl_module, loss):
        labels = pl_module.step.comparison.anchors.labels.tolist()
        self.steps.append((trainer.current_epoch, pl_module.embedding.z.detach().double(), labels))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        parts = {"trunk": pl_module.embedder.trunk, "head": pl_module.embedder.head}
        norms = {
            name: sum(float(p.grad.double().square().sum()) for p in part.parameters()) for name, part in parts.items()
        }
        self.parameters.append({name: value**0.5 for name, value in norms.items()})

    def on_validation_epoch_end(self, trainer, pl_module):
        self.evaluated = pl_module.evaluated


def spread_by_hand(weights, negative):
    total, pushed = 0.0, 0
    for anchor in {i for i, _ in negative}:
        pushes = [weights[pair] for pair in negative if pair[0] == anchor]
        whole = sum(pushes)
        if whole > 0:
            total += math.exp(-sum(w / whole * math.log(w / whole) for w in pushes if w > 0)) / len(pushes)
            pushed += 1
    return total, pushed


def by_hand(z, labels, name="euclidean", reduction="mean"):
    """Every measure of one step as (numerator, denominator), from loops and autograd."""
    z = z.clone().requires_grad_()
    d = distance_table(name, z)
    account = triplet_account(d, triplets_of(*pairs(labels)), MARGIN, reduction)
    positive, negative = pairs(labels)
    chosen = [d[i][j] for i, j in positive + negative]
    by_z, *by_d = torch.autograd.grad(account.value, [z, *chosen], materialize_grads=True)
    norms = by_z.norm(dim=1).tolist()
    weights = {
        pair: abs(float(slope)) * FROM_DISTANCE[name](float(distance.detach()))
        for pair, slope, distance in zip(positive + negative, by_d, chosen, strict=True)
    }
    largest = max(weights.values())
    pulled = {i for pair, weight in weights.items() if weight > 0 for i in pair}
    return {
        "loss": (float(account.value), 1),
        "active_ratio": (account.active, account.terms),
        "active_ratio_pairs": (sum(w > THRESHOLD * largest for w in weights.values()), len(weights)),
        "negative_spread": spread_by_hand(weights, negative),
        "grad_norm_embedding": (sum(norms), len(norms)),
        "grad_norm_embedding_active": (sum(norms[i] for i in pulled), len(pulled)),
    }


def together(measures):
    return {name: sum(m[name][0] for m in measures) / max(1, sum(m[name][1] for m in measures)) for name in measures[0]}


@pytest.fixture
def watched(tiny, tmp_path):
    def go(*overrides, threshold=THRESHOLD, every=1, asked=(), **options):
        cfg = tiny("loss=triplet", f"loss.margin={MARGIN}", *overrides)
        data = data_of(plain(cfg))
        module = learner_of(plain(cfg), data)
        witness, history = Witness(), HistoryLogger(tmp_path)
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=2,
            logger=history,
            callbacks=[
                EvaluationMonitor([]),
                GreedinessMonitor(threshold, every, **dict.fromkeys(asked, True)),
                witness,
            ],
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            inference_mode=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **options,
        )
        trainer.fit(module, datamodule=data)
        history.close()
        return witness, read_history(history.path), data

    return go


def epoch_values(rows, stage):
    """Epoch-level values of a stage, one dict per epoch."""
    found: dict[int, dict[str, float]] = {}
    for row in rows:
        values = {k.removeprefix(f"{stage}/"): v for k, v in row.items() if k.startswith(f"{stage}/")}
        values = {k: v for k, v in values.items() if not k.endswith("_step")}
        found.setdefault(row["epoch"], {}).update(values)
    return [found[epoch] for epoch in sorted(found)]


def hold(found, wanted, rel=1e-4):
    wanted = {name: value for name, value in wanted.items() if name in found or name not in ASKED}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=rel, abs=1e-6)


@pytest.mark.parametrize("name", ["euclidean", "squared_euclidean", "cosine"])
def test_train_values_are_those_of_the_steps(watched, name):
    witness, rows, _ = watched(f"distance={name}")
    measures = [by_hand(z, labels, name) for _, z, labels in witness.steps]
    steps = [row for row in rows if "train/loss_step" in row]
    assert [row["step"] for row in steps] == list(range(len(measures)))
    for row, measure, norms in zip(steps, measures, witness.parameters, strict=True):
        found = {k.removeprefix("train/").removesuffix("_step"): v for k, v in row.items() if k.endswith("_step")}
        hold(found, together([measure]))
        hold(found, {f"grad_norm_{part}": norm for part, norm in norms.items()})
        hold(found, {"grad_norm": sum(norm**2 for norm in norms.values()) ** 0.5})
    per_epoch = len(measures) // 2
    previous = None
    for epoch, values in enumerate(epoch_values(rows, "train")):
        mine = slice(epoch * per_epoch, (epoch + 1) * per_epoch)
        wanted = together(measures[mine])
        hold(values, wanted)
        norms = witness.parameters[mine]
        hold(values, {"grad_norm_trunk": sum(n["trunk"] for n in norms) / per_epoch})
        if previous is None:
            assert "loss_decay_rate" not in values
        else:
            hold(values, {"loss_decay_rate": (previous - wanted["loss"]) / previous}, rel=1e-3)
        previous = wanted["loss"]


def test_what_is_asked_for_is_logged(watched):
    witness, rows, data = watched(asked=ASKED)
    half = len(witness.steps) // 2
    hardness, hard = BatchHardness(), []
    for _, z, labels in witness.steps:
        (found,) = hardness.observe(z, torch.tensor(labels)).values()
        hard.append(float(found[0]))
    measures = [
        {**by_hand(z, labels), "batch_hardness": (hard[k], 1)} for k, (_, z, labels) in enumerate(witness.steps)
    ]
    for epoch, values in enumerate(epoch_values(rows, "train")):
        assert set(ASKED) <= values.keys()
        hold(values, together(measures[epoch * half : (epoch + 1) * half]), rel=1e-3)
    steps = [row for row in rows if "train/loss_step" in row]
    assert [row["train/batch_hardness_step"] for row in steps] == pytest.approx(hard, abs=1e-5)
    embeddings, labels = witness.evaluated.embeddings.double(), witness.evaluated.labels
    of_batches = [by_hand(embeddings[rows_], labels[rows_].tolist()) for rows_ in data.validation_batches()]
    validated = epoch_values(rows, "val")[-1]
    assert "negative_spread" in validated
    hold(validated, together(of_batches))
    assert "batch_hardness" not in validated


def test_the_table_of_classes_goes_with_the_checkpoint():
    one, other, plain_one = (GreedinessMonitor(batch_hardness=on) for on in (True, True, None))
    batch = torch.randn(4, 3), torch.tensor([0, 0, 1, 1])
    one.hardness.observe(*batch)
    other.load_state_dict(one.state_dict())
    assert all(map(torch.equal, other.hardness.state, one.hardness.state))
    plain_one.load_state_dict(one.state_dict())
    other.load_state_dict(plain_one.state_dict())
    assert plain_one.state_dict().keys() == {"averages", "previous"}


def test_pairs_of_large_batches_are_measured_in_logged_steps(watched, monkeypatch):
    monkeypatch.setattr(greediness, "KEPT_PAIRS", 0)
    witness, rows, _ = watched(every=2)
    half = len(witness.steps) // 2
    measures = [by_hand(z, labels) for _, z, labels in witness.steps[:half]]
    values = epoch_values(rows, "train")[0]
    pairs_of = ("active_ratio_pairs", "grad_norm_embedding_active")
    hold(values, {name: value for name, value in together(measures).items() if name not in pairs_of})
    logged = together(measures[1::2])
    hold(values, {name: logged[name] for name in pairs_of})


def test_validation_values_are_those_of_its_batches(watched):
    witness, rows, data = watched()
    batches = data.validation_batches()
    assert torch.cat(batches).unique().tolist() == list(range(len(data.splits.validation)))
    embeddings, labels = witness.evaluated.embeddings.double(), witness.evaluated.labels
    wanted = together([by_hand(embeddings[rows_], labels[rows_].tolist()) for rows_ in batches])
    hold(epoch_values(rows, "val")[-1], wanted)


@pytest.mark.parametrize("reduction", ["sum", "mean_active"])
def test_decay_is_measured_on_the_mean_over_all_terms(watched, reduction):
    witness, rows, _ = watched(f"loss.reduction={reduction}")
    half = len(witness.steps) // 2
    means = [by_hand(z, labels)["loss"][0] for _, z, labels in witness.steps]
    first, second = sum(means[:half]) / half, sum(means[half:]) / half
    values = epoch_values(rows, "train")[1]
    hold(values, {"loss_mean": second, "loss_decay_rate": (first - second) / first}, rel=1e-3)
    reduced = [by_hand(z, labels, reduction=reduction)["loss"][0] for _, z, labels in witness.steps[half:]]
    hold(values, {"loss": sum(reduced) / half})


def test_norms_are_those_before_clipping(watched):
    """A tiny clip value would otherwise be all that is left of them."""
    witness, rows, _ = watched(gradient_clip_val=1e-6)
    measures = [by_hand(z, labels) for _, z, labels in witness.steps]
    for row, norms, measure in zip(
        [row for row in rows if "train/grad_norm_step" in row], witness.parameters, measures, strict=True
    ):
        total = sum(norm**2 for norm in norms.values()) ** 0.5
        assert total > 1e-3
        assert row["train/grad_norm_step"] == pytest.approx(total, rel=1e-4)
        hold(
            {"grad_norm_embedding": row["train/grad_norm_embedding_step"]},
            {"grad_norm_embedding": together([measure])["grad_norm_embedding"]},
        )


def test_accumulated_gradients(watched):
    """Embedding norms are of each batch's own loss; parameter norms of what the optimizer is given."""
    witness, rows, _ = watched(accumulate_grad_batches=2)
    measures = [by_hand(z, labels) for _, z, labels in witness.steps]
    half = len(measures) // 2
    for epoch, values in enumerate(epoch_values(rows, "train")):
        wanted = together(measures[epoch * half : (epoch + 1) * half])
        hold(values, wanted)
    updates = [row for row in rows if "train/grad_norm_step" in row]
    assert len(updates) == len(witness.parameters) == 6  # 5 batches an epoch: two pairs and a rest
    for row, norms in zip(updates, witness.parameters, strict=True):
        assert row["train/grad_norm_trunk_step"] == pytest.approx(norms["trunk"], rel=1e-4)


def test_steps_are_counted_from_zero_and_logged_once_when_gradients_accumulate(watched):
    _, rows, _ = watched(accumulate_grad_batches=2)
    steps = [row["step"] for row in rows if "train/loss_step" in row]
    assert min(steps) >= 0
    assert len(steps) == len(set(steps))


def test_without_threshold_only_the_loss_is_watched(watched):
    _, rows, _ = watched(threshold=None)
    keys = {key for row in rows for key in row}
    assert {"train/loss", "train/active_ratio", "val/loss", "val/active_ratio"} <= keys
    assert not any("grad_norm" in key or "active_ratio_pairs" in key for key in keys)


def test_watching_changes_nothing(watched):
    watcher, _, _ = watched()
    blind, _, _ = watched(threshold=None)
    for one, other in zip(watcher.steps, blind.steps, strict=True):
        assert torch.equal(one[1], other[1])
