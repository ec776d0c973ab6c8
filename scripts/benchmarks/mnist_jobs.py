"""An epoch of MNIST and its evaluation as one process: ``python -m benchmarks.mnist_jobs {ours,peer} ...``.

Prints one line of JSON: seconds and peak memory of the process, and what retrieval came to.
"""

import argparse
import json
import tempfile
from typing import Any

from benchmarks.measuring import faiss_installed, peak_resident, threads, use_threads
from benchmarks.stopwatch import OVERRIDES, Span, Spans, timed_job

BATCH, PER_CLASS = 250, 25
WORKERS = 2


def ours(data_dir: str, overrides: list[str]) -> tuple[Spans, dict[str, float]]:
    """The run that a user starts from the command line."""
    with tempfile.TemporaryDirectory() as folder:
        spans, metrics = timed_job([f"paths.data_dir={data_dir}", f"paths.output_dir={folder}", *overrides])
    found = {name: metrics[f"test/{name}"] for name in ("recall_at_1", "r_precision", "map_at_r")}
    return spans, found


def peer(data_dir: str, overrides: list[str]) -> tuple[Spans, dict[str, float]]:
    """The same job as users of pytorch-metric-learning write it, after its own MNIST example.

    Network, initial values, optimiser, margin and batches are those of our config.
    """
    import torch
    from pytorch_metric_learning import losses, miners, samplers, testers
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN
    from torchvision import datasets, transforms

    from metriscope.build.run import network_of
    from metriscope.config.compose import compose_config
    from metriscope.config.plain import plain

    started = Span.now()
    cfg = compose_config([*OVERRIDES, "backbone.channels_last=false", *overrides])
    torch.manual_seed(cfg.seed)
    normalise = transforms.Normalize(tuple(cfg.dataset.mean), tuple(cfg.dataset.std))
    transform = transforms.Compose([transforms.ToTensor(), normalise])
    train_set, test_set = (datasets.MNIST(data_dir, train=train, transform=transform) for train in (True, False))
    embedder = network_of(plain(cfg), (1, 28, 28))
    model = torch.nn.Sequential(embedder.trunk, embedder.head)
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.optimizer.lr)
    sampler = samplers.MPerClassSampler(train_set.targets, PER_CLASS, BATCH, len(train_set))
    loader = torch.utils.data.DataLoader(train_set, BATCH, sampler=sampler, num_workers=WORKERS)
    loss_of = losses.TripletMarginLoss(margin=cfg.loss.margin)
    mine = miners.TripletMarginMiner(margin=cfg.loss.margin, type_of_triplets="semihard")

    before = Span.now()
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        embeddings = model(images)
        loss_of(embeddings, labels, mine(embeddings, labels)).backward()
        optimizer.step()
    trained = Span.now()
    tester = testers.BaseTester(dataloader_num_workers=WORKERS)
    embeddings, labels = tester.get_all_embeddings(test_set, model)
    search = None if faiss_installed() else CustomKNN(LpDistance(normalize_embeddings=False))
    wanted = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    accuracy = AccuracyCalculator(include=wanted, device=torch.device("cpu"), knn_func=search)
    values = accuracy.get_accuracy(embeddings, labels.squeeze(1))
    ended = Span.now()
    names = ("recall_at_1", "r_precision", "map_at_r")
    found = {name: float(values[theirs]) for name, theirs in zip(names, wanted, strict=True)}
    return Spans(trained.since(before), ended.since(trained), ended.since(started)), found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=("ours", "peer"))
    parser.add_argument("data_dir")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    use_threads(threads())
    job = ours if arguments.side == "ours" else peer
    spans, found = job(arguments.data_dir, arguments.overrides)
    seconds = {name: span.wall for name, span in spans._asdict().items()}
    result: dict[str, Any] = {**seconds, **found, "peak": peak_resident()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
