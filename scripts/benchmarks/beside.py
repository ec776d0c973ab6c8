"""Losses, weightings and miners of published methods beside the loss that each one changes."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.comparing import batch, step
from benchmarks.measuring import isolated, peak_extra, side_by_side
from benchmarks.table import Table, mebibytes, milliseconds, ratio

INFONCE = ("loss=infonce",)
SUPCON = ("loss=supcon",)
DECOUPLED = ("loss=decoupled_contrastive",)
SOFTMAX = ("loss=normalized_softmax",)
BATCH_HARD = ("loss=triplet", "miner=batch_hard")
METHODS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("loss=cacr",): SUPCON,
    ("loss=cwcl",): SUPCON,
    ("loss=groco", "loss.positives=3"): SUPCON,
    ("loss=supcon", "loss.focal=0.3"): SUPCON,
    ("loss=supcon", "loss.smoothing=0.1"): SUPCON,
    ("loss=supcon", "loss.learn_temperature=true"): SUPCON,
    ("loss=mann_whitney",): ("loss=histogram",),
    ("loss=mv_infonce",): SUPCON,
    ("loss=mv_dhel",): SUPCON,
    ("loss=proto_triplet",): ("loss=triplet",),
    ("loss=simple_contrastive",): INFONCE,
    ("loss=sigmoid",): INFONCE,
    ("loss=sogclr",): DECOUPLED,
    ("loss=isogclr",): DECOUPLED,
    ("loss=unpg",): ("loss=arcface",),
    ("loss=pcr",): SOFTMAX,
    ("loss=palm",): ("loss=center_contrastive",),
    ("loss=simlap",): INFONCE,
    ("loss=instance",): SOFTMAX,
    ("loss=normalized_softmax", "loss.synthesis={ratio: 1.0, alpha: 0.4}"): SOFTMAX,
    ("loss=sphereface",): SOFTMAX,
    ("loss=large_margin_softmax",): SOFTMAX,
    ("loss=intra_pair_variance",): ("loss=contrastive",),
    ("loss=threshold_consistent_margin",): ("loss=contrastive",),
    ("loss=vicreg",): ("loss=contrastive",),
    ("loss=dynamic_soft_margin",): ("loss=soft_margin_triplet",),
    ("loss=infonce", "weighting=soft_negative"): INFONCE,
    ("loss=infonce", "weighting=asp"): INFONCE,
    ("loss=infonce", "weighting=dbpm"): INFONCE,
    ("loss=infonce", "mixture=mochi"): INFONCE,
    ("loss=infonce", "mixture=metrix"): INFONCE,
    ("loss=infonce", "mixture=supremix"): INFONCE,
    ("loss=infonce", "miner=hard_share"): INFONCE,
    ("loss=infonce", "miner=whisker"): INFONCE,
    ("loss=infonce", "references=embedding_expansion"): INFONCE,
    ("loss=triplet", "miner=batch_hard", "miner.stand_ins=true", "references=embedding_expansion"): BATCH_HARD,
    ("loss=supcon", "loss.focal=1", "references=hard_pairs"): ("loss=supcon", "loss.focal=1"),
    ("loss=triplet", "pairs_across=other"): ("loss=triplet",),
    ("loss=supcon", "pairs_across=other"): SUPCON,
    ("loss=contrastive", "pairs_across=other"): ("loss=contrastive",),
}
"""Words that choose a method -> those that choose the plain loss."""
CLASSES, FEATURES, SAMPLES = 100, 512, 60_000
LAYOUT = "4 per class"


def run(quick: bool) -> None:
    """Print the times and the memory of each method and of its plain loss."""
    print("\nmethods beside the loss that each one changes: a step of the objective from embeddings to their gradient")
    columns = [("method", 44), ("beside", 26), ("batch", 5), ("ms", 15), ("plain ms", 15), ("cost", 8)]
    table = Table([*columns, ("MiB", 6), ("plain MiB", 9)], names=2)
    for words, plain_words in METHODS.items():
        for size in (32,) if quick else (128, 1024, 4096):
            seconds = 0 if quick else 0.5
            times = isolated(_compared, (words, plain_words), size, seconds)
            peaks = [mebibytes(isolated(_memory, side, size)) for side in (words, plain_words)]
            table.row([" ".join(words), " ".join(plain_words), str(size), *times, *peaks])


def _compared(sides: Sequence[Sequence[str]], size: int, seconds: float) -> tuple[str, str, str]:
    raw, labels = batch(size, LAYOUT)
    method, plain = side_by_side([partial(step, _judged(words), raw, labels) for words in sides], seconds=seconds)
    return milliseconds(method), milliseconds(plain), ratio(method, plain)


def _memory(words: Sequence[str], size: int) -> int:
    """Bytes that a step needs at its peak; for a fresh process."""
    judged = _judged(words)
    return peak_extra(lambda: step(judged, *batch(size, LAYOUT)), lambda: step(judged, *batch(32, LAYOUT)))


def _judged(words: Sequence[str]) -> Callable[[Tensor, Tensor], Tensor]:
    """The value of the objective of a run, by embeddings before normalisation and labels."""
    from metriscope.build.run import objective_of
    from metriscope.config.compose import compose_config
    from metriscope.config.plain import plain
    from metriscope.objectives.samples import Moment, Spaces

    config = plain(compose_config(list(words)))
    objective = objective_of(config, CLASSES, 128, trunk_size=FEATURES, num_samples=SAMPLES)
    # A late epoch, in which weightings weigh.
    moment = Moment(epoch=config["trainer"]["max_epochs"] - 1)

    def value(raw: Tensor, labels: Tensor) -> Tensor:
        trunk = torch.randn(len(raw), FEATURES, generator=torch.Generator().manual_seed(0))
        places = torch.arange(len(raw))
        spaces = Spaces.of(normalize(raw), labels % CLASSES, places, trunk, side=places % 2)
        found: Tensor = objective(spaces, moment).output.value
        return found

    return value
