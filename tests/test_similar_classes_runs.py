"""Runs whose batches hold classes near one another, by a table that is made anew as the training goes on."""

import os

import pytest
import torch
from forks import DDP, on_ranks, started
from interruptions import At, goes_on_alike, interrupt, state, stopped

from metriscope import tensor_files
from metriscope.app import train
from metriscope.callbacks.class_neighbors import ClassNeighbors, _in_evaluation
from metriscope.data.similar_classes import nearest_classes
from metriscope.errors import InputError

# 5 classes, 2 or 3 to a batch of 8 or 20; an epoch of 9 or 12 batches.
SIMILAR = ("sampler=similar_classes", "sampler.classes_per_batch=2", "sampler.neighbors=2")


def kept(folder):
    return state(folder)["callbacks"].get("ClassNeighbors")


@pytest.fixture
def made(monkeypatch):
    """Epoch and table of every pass, once it is found to give what one process makes of the whole training part."""
    found, sums_of = [], ClassNeighbors._sums

    def watched(self, trainer, module, sampler):
        modes = [layer.training for layer in module.modules()]
        sums = sums_of(self, trainer, module, sampler)
        assert [layer.training for layer in module.modules()] == modes
        with torch.no_grad(), _in_evaluation(module):
            z = module(trainer.datamodule.splits.train.inputs.to(module.dtype)).z.double()
        labels = trainer.datamodule.splits.train.labels
        torch.testing.assert_close(sums, torch.stack([z[labels == c].sum(0) for c in range(5)]))
        found.append((trainer.current_epoch, nearest_classes(sums, 2).tolist()))
        return sums

    monkeypatch.setattr(ClassNeighbors, "_sums", watched)
    return found


def test_a_table_is_made_before_the_epochs_that_are_due_and_by_the_weights_of_then(tiny, made):
    outcome = train(tiny(*SIMILAR, "trainer.max_epochs=4", "sampler.refresh_every_n_epochs=2"))
    assert [epoch for epoch, _ in made] == [1, 3]
    assert kept(outcome.folder)["table"].tolist() == made[-1][1] == outcome.data.train_batch_sampler.table.tolist()


def test_a_table_is_asked_for_where_there_is_a_choice(tiny):
    wanted = train(tiny("sampler.classes_per_batch=5")).metrics
    found = train(tiny("sampler=similar_classes", "sampler.classes_per_batch=5"))
    assert kept(found.folder) is None
    assert {key: value for key, value in found.metrics.items() if "seconds" not in key} == {
        key: value for key, value in wanted.items() if "seconds" not in key
    }


@pytest.mark.parametrize("step", [7, 4, 9])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(tiny, watch, step):
    """Stopped within the second epoch, which has a table of its own, and at the ends of epochs."""
    words = (*SIMILAR, "sampler.samples_per_class=10", "miner=random", "trainer.max_epochs=3")
    goes_on_alike(tiny, watch, *words, step=step)


def test_a_table_of_other_data_in_a_checkpoint_ends_the_run(tiny, watch):
    watch(At(interrupt(), step=7))
    folder = stopped(tiny, *SIMILAR)
    watch()
    path = folder / "checkpoints" / "last.ckpt"
    content = tensor_files.load(path)
    content["callbacks"]["ClassNeighbors"] = {"table": torch.zeros(7, 2, dtype=torch.int32), "data": "other"}
    tensor_files.save(content, path, None)
    with pytest.raises(InputError, match=r"^the checkpoint has a table of 2 neighbours of 7 classes of other data"):
        train(tiny(*SIMILAR))


@pytest.mark.processes
def test_two_processes_make_the_table_of_one(tiny, tmp_path, made):
    cfg = tiny(*SIMILAR, *DDP, "trainer.precision=64-true", "evaluation.batch_size=12")

    def work():
        data = train(cfg).data
        assert [epoch for epoch, _ in made] == [1]
        assert data.train_batch_sampler.table.tolist() == made[0][1]
        torch.save(made, tmp_path / f"{os.environ['RANK']}.pt")

    on_ranks(work, ready=started(cfg))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first == second
