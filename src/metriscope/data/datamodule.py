"""Dataloaders over the parts of a data set."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from lightning_fabric.utilities.apply_func import move_data_to_device
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from metriscope.config.views import check_views
from metriscope.data.batch_dataset import Batch, BatchDataset
from metriscope.data.batching import Batching
from metriscope.data.examples import Examples
from metriscope.data.inputs.augment import Augmentation
from metriscope.data.inputs.decoded import DecodeOnce
from metriscope.data.inputs.features import EmbedOnce, KeptFeatures, ViewsInTurn
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.inputs.late import LateInputs, divides
from metriscope.data.late_loader import LONGEST_WAIT, LateLoader
from metriscope.data.provider import Serving, Whole
from metriscope.data.samplers import BatchSampler, SequentialBatchSampler
from metriscope.data.shared_memory import check_room
from metriscope.data.splits import Splits
from metriscope.errors import InputError, RunError
from metriscope.models.network import Features
from metriscope.models.paired import Pairs
from metriscope.seeds import generator
from metriscope.signals import spare_worker

_READY = (Features, Pairs)
"""Inputs that the network reads as they are stored."""
_PREFETCHED = 4
"""Batches that a worker reads ahead."""


class DataModule(LightningDataModule):
    """Dataloaders of ``(inputs, labels, index)`` batches.

    A training batch holds ``batching.views`` rows for each drawn example, one after the other, with the same index.

    Dataloaders give images as they are stored. On the device, images are converted to float32 and normalised; in
    training they are also cropped and flipped, by numbers that depend on seed, epoch, step and rank alone. A run
    resumed within an epoch continues at its next batch.

    If features of a frozen trunk are cached, batches hold these features in place of images. Wrong labels are
    in training batches alone. Batches of B pairs have 2 B labels and indices, see :class:`BatchDataset`.

    The samplers divide the data among ranks: the trainer needs ``use_distributed_sampler=False``.

    Args:
        splits: train, validation and test parts.
        batching: composition of training batches.
        augmentation: applied to every batch on its device.
        evaluation_batch_size: examples per batch outside training.
        seed: seed of the run, for the order of the data and for augmentation.
        num_workers: processes that decode image files; not used for data in memory.
        decoding: how image files are decoded once; None decodes them batch by batch.
        embedding: cache of a frozen trunk's features; None runs the trunk on every batch.
        convert_late: training batches hold :class:`LateInputs`, which are converted and augmented some at a time.
        distractors: images that the gallery of every test query holds as well; None without any.

    Raises:
        InputError: the sampler or the normalisation does not fit the data, or views of an example are alike.
    """

    def __init__(
        self,
        splits: Splits,
        batching: Batching,
        augmentation: Augmentation,
        evaluation_batch_size: int,
        seed: int,
        num_workers: int = 0,
        decoding: DecodeOnce | None = None,
        embedding: EmbedOnce | None = None,
        convert_late: bool = False,
        distractors: ImageFiles | None = None,
    ) -> None:
        super().__init__()
        if evaluation_batch_size < 1:
            raise InputError(f"evaluation.batch_size={evaluation_batch_size}: set it to at least 1")
        self.splits = splits
        self.batching = batching
        self.augmentation = augmentation
        self.evaluation_batch_size = evaluation_batch_size
        self.seed = seed
        self.num_workers = num_workers
        self.serving = Serving(splits, augmentation, decoding)
        self.embedding = embedding
        self.convert_late = convert_late
        self.distractors = distractors
        augmentation.check_shape(self.input_shape)
        check_views(batching.views, batching.by_image, augmentation, splits.train.shape)
        self._sampler = batching.sampler(splits.labels_to_train_on, seed)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example as the network gets it."""
        return self.augmentation.output_shape(self.splits.train.shape)

    @property
    def num_classes(self) -> int:
        """Number of classes of the train part."""
        return self.splits.train.num_classes

    @property
    def protocol(self) -> str:
        return self.splits.protocol

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint: the fingerprint of the data, and what one input is, for those who load the model."""
        return {"fingerprint": self.splits.fingerprint, "inputs": self.serving.described}

    def decode(self) -> None:
        """Reads all image files that are decoded once.

        Raises:
            InputError: a file cannot be read, or there is no space for the decoded images.
        """
        for part in ("train", "validation", "test"):
            if getattr(self.splits, part) is not None:
                self.serving.images(part, training=part == "train")

    @property
    def train_batch_sampler(self) -> BatchSampler:
        """The sampler of the train dataloader, for this rank."""
        rank, world_size = self._place()
        if (self._sampler.rank, self._sampler.world_size) != (rank, world_size):
            self._sampler = self.batching.sampler(self.splits.labels_to_train_on, self.seed, rank, world_size)
        return self._sampler

    def train_dataloader(self) -> DataLoader[Batch]:
        dataset = BatchDataset(self._served("train", training=True), self.batching.views, self.batching.by_image)
        return self._loader(dataset, self.train_batch_sampler, self._go_to_where_the_run_stands)

    def train_eval_dataloader(self) -> DataLoader[Batch]:
        """The train part once, in order and not augmented."""
        return self._in_order("train")

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        return [] if self.splits.validation is None else self._in_order("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._in_order("test")

    def distractor_dataloader(self) -> DataLoader[Batch] | None:
        """The distractors in order, as the test part is read; None without any."""
        if self.distractors is None:
            return None
        files = replace(self.distractors, transform=self.augmentation.stored[1])
        examples = Examples(files, torch.zeros(len(files), dtype=torch.int64), ("",))
        batches = SequentialBatchSampler(len(files), self.evaluation_batch_size, *self._place())
        return self._loader(BatchDataset(examples), batches)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The train part, embedded as references for k-NN and the linear probe."""
        return self.train_eval_dataloader()

    def validation_batches(self) -> list[Tensor]:
        """Positions in the validation part, batched as in training; the same in every epoch, run and rank."""
        if self.splits.validation is None:
            return []
        labels = self.splits.labels_to_validate_on
        return [torch.tensor(batch) for batch in self.batching.adapted(labels).sampler(labels, seed=0)]

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        inputs, labels, index = batch
        trainer = self.trainer
        if trainer is not None and trainer.training and not isinstance(inputs, _READY):
            inputs = self.augmentation.plan(inputs, self._numbers(index))
        return inputs, labels, index

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        inputs, labels, index = batch
        convert = partial(self._converted, device=index.device)
        rows = len(labels) // 2 if isinstance(inputs, Pairs) else len(labels)
        if self.convert_late and self.trainer is not None and self.trainer.training and divides(inputs, rows):
            return LateInputs(inputs, convert), labels, index
        return convert(inputs, count=len(labels)), labels, index

    def evaluated(self, batch: Batch) -> Batch:
        """A batch on its device as evaluation sees it, also while a training goes on."""
        inputs, labels, index = batch
        return self._converted(inputs, index.device, len(labels)), labels, index

    def _converted(self, stored: Any, device: torch.device, count: int | None = None) -> Any:
        """Inputs of the network, as many as there are examples, in the run's precision."""
        inputs = stored
        if not isinstance(stored, _READY):
            inputs = self._as_seen(stored, device)
            count = len(stored if isinstance(stored, Tensor) else stored[0]) if count is None else count
            if len(inputs) != count:
                line = f"the augmentation {type(self.augmentation).__name__} gives {len(inputs)} of {count}"
                raise RunError(f"{line} examples: it has to give all")
        if self.trainer is not None:  # Lightning converts to the run's precision earlier, while images are still uint8
            inputs = self.trainer.precision_plugin.convert_input(inputs)
        return inputs

    def _as_seen(self, inputs: Any, device: torch.device) -> Tensor:
        seen: Tensor = self.augmentation.to(device)(inputs, stored=self.serving.from_files)
        return seen

    def _numbers(self, index: Tensor) -> Tensor:
        """Random numbers for the augmentation of the current training batch, (B, width)."""
        assert self.trainer is not None
        if self.augmentation.views is not None:
            shown = self._shown()
            every = [self.serving.numbers(view, len(shown))[index[k :: len(shown)]] for k, view in enumerate(shown)]
            return torch.stack(every, 1).flatten(0, 1)
        epoch = self.trainer.current_epoch
        step = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        source = generator(self.seed, "augmentation", epoch, step, self.trainer.global_rank)
        return torch.rand(len(index), self.augmentation.width, generator=source)

    def _place(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _go_to_where_the_run_stands(self) -> None:
        if self.trainer is not None and self.trainer.training:
            self._sampler.set_epoch(self.trainer.current_epoch)
            self._sampler.resume_at(self.trainer.fit_loop.epoch_loop.batch_progress.current.ready)

    def _served(self, part: str, training: bool = False) -> Examples:
        """A part with the inputs of its dataloader; evaluation sees the true labels."""
        examples: Examples = self.splits.references if part == "train" else getattr(self.splits, part)
        if training:
            examples = replace(self.splits.train, labels=self.splits.labels_to_train_on)
        if self.embedding is None or self.trainer is None:
            return replace(examples, inputs=self.serving.images(part, training))
        views = self.augmentation.views
        if not training or views is None:
            return replace(examples, inputs=self._features(part, None))
        kept = [self._features(part, view) for view in range(views)]
        return replace(examples, inputs=ViewsInTurn(kept, self._shown))

    def _shown(self) -> list[int]:
        """Which of the fixed views the batches of the current epoch show."""
        assert self.trainer is not None
        assert self.augmentation.views is not None
        first = self.trainer.current_epoch * self.batching.views
        return [(first + k) % self.augmentation.views for k in range(self.batching.views)]

    def _features(self, part: str, view: int | None) -> KeptFeatures:
        assert self.trainer is not None
        assert self.embedding is not None
        whole = self.serving.whole(part, view)
        values = self.embedding.open(self.trainer, whole.facts, whole.count, self._batches_of(whole, view))
        return KeptFeatures(values, whole.rows)

    def _batches_of(self, whole: Whole, view: int | None) -> Iterator[Tensor]:
        """All inputs in order, as the network gets them, on its device."""
        assert self.trainer is not None
        inputs = whole.open()
        numbers = None if view is None else self.serving.numbers_of(whole, view)
        device = self.trainer.strategy.root_device
        examples = Examples(inputs, torch.zeros(len(inputs), dtype=torch.int64), ("",))
        batches = SequentialBatchSampler(len(inputs), self.evaluation_batch_size)
        for batch, _, index in self._loader(BatchDataset(examples), batches):
            planned = batch if numbers is None else self.augmentation.plan(batch, numbers[index])
            yield self._as_seen(move_data_to_device(planned, device), device)

    def _in_order(self, part: str) -> DataLoader[Batch]:
        dataset = BatchDataset(self._served(part), apart=True)
        return self._loader(dataset, SequentialBatchSampler(len(dataset), self.evaluation_batch_size, *self._place()))

    def _loader(
        self,
        dataset: BatchDataset,
        batches: BatchSampler | SequentialBatchSampler,
        before: Callable[[], None] | None = None,
    ) -> DataLoader[Batch]:
        examples = dataset.examples
        workers = self.num_workers if isinstance(examples.inputs, ImageFiles) else 0
        if workers:
            batch = dataset.views * math.ceil(len(examples) / max(len(batches) * self._place()[1], 1))
            check_room(workers * (_PREFETCHED + 1), batch * math.prod(examples.shape), workers)
        loader = LateLoader(
            dataset,
            batch_size=None,
            sampler=batches,  # as `sampler`, because Lightning calls set_epoch on it, not on `batch_sampler`
            collate_fn=_as_it_is,
            num_workers=workers,
            worker_init_fn=spare_worker,
            persistent_workers=workers > 0,
            prefetch_factor=_PREFETCHED if workers else None,
            timeout=LONGEST_WAIT if workers else 0,
            pin_memory=torch.cuda.is_available(),
            generator=generator(self.seed, "workers"),
        )
        loader.before = before
        return loader


def _as_it_is(batch: Any) -> Any:
    return batch
