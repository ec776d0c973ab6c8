"""Which parts go with a distance of tangent vectors, and what is said of the others."""

import pytest
import torch
from tiny_runs import COMPOSER

from metriscope.config.objective import check_objective, fitting_miners, shipped
from metriscope.config.plain import plain
from metriscope.errors import InputError
from metriscope.objectives.distances.hyperbolic import Hyperbolic
from metriscope.objectives.samples import Moment

FREE = ("distance=hyperbolic", "head.normalize=false")
LOSSES = [
    "contrastive", "cwcl", "decoupled_contrastive", "dynamic_soft_margin", "groco", "infonce", "instance",
    "intra_pair_variance", "isogclr", "lifted_structure", "mann_whitney", "margin", "mv_dhel", "mv_infonce", "n_pair",
    "nca", "proto_triplet", "ranked_list", "sigmoid", "smooth_ap", "soft_margin_triplet", "sogclr", "supcon", "triplet",
]  # fmt: skip
MINERS = [
    "all", "batch_easy_hard", "batch_easy_positive", "batch_hard", "easy", "hard", "hard_share", "hdc",
    "multi_similarity", "none", "pair_margin", "random", "semihard", "uniform_histogram", "violating", "whisker",
]  # fmt: skip


def refusal(*words):
    try:
        check_objective(plain(COMPOSER([*FREE, *words])))
    except InputError as error:
        return str(error)
    return ""


def test_the_losses_that_go_with_it():
    lines = {name: refusal(f"loss={name}", f"miner={fitting_miners(part.accepts)[0]}")
             for name, part in shipped("loss").items()}  # fmt: skip
    assert [name for name, line in lines.items() if not line] == LOSSES
    wanted = f"needs cosines, which distance=hyperbolic has not: use one of {', '.join(LOSSES)}"
    assert all(line == f"loss={name} {wanted}" for name, line in lines.items() if line)


def test_the_miners_that_go_with_it():
    takes = {name: next(loss for loss in ("triplet", *LOSSES) if part.kind in shipped("loss")[loss].accepts)
             for name, part in shipped("miner").items() if part.kind != "none"}  # fmt: skip
    lines = {name: refusal(f"loss={loss}", f"miner={name}") for name, loss in takes.items()}
    assert [name for name in shipped("miner") if not lines.get(name)] == MINERS
    assert all(
        "needs cosines, which distance=hyperbolic has not: use one of" in line for line in lines.values() if line
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("head.normalize=true",), "distance=hyperbolic needs the lengths of embeddings: set head.normalize=false"),
        (("references=embedding_expansion",), "references=embedding_expansion mixes samples"),
        (("loss=supcon", "miner=all", "mixture=metrix"), "mixture=metrix mixes samples"),
        (("distance.curvature=0",), "distance.curvature=0"),
        (("distance.clip=-1",), "distance.clip=-1"),
        (("distance.clip=99",), "distance.clip=99: with curvature=0.1 it has to be at most 47.4342, or null"),
    ],
)
def test_what_is_refused(words, line):
    assert line in refusal(*words)


def test_losses_that_go_with_it_ask_for_no_cosine():
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(12) % 4
    for name in ("contrastive", "margin", "n_pair", "ranked_list", "smooth_ap", "triplet"):
        u = torch.randn(12, 5, generator=source, requires_grad=True)
        arguments = {"num_classes": 4, "embedding_size": 5} if name == "margin" else {}
        value = shipped("loss")[name](**arguments)(
            u, labels, distance=Hyperbolic(), moment=Moment(generator=torch.Generator().manual_seed(0))
        )
        (found,) = torch.autograd.grad(value, u)
        assert found.isfinite().all()
