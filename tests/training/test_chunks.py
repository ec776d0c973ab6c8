"""A batch that is embedded in chunks has the values and gradients of one that is embedded at once."""

import gc
import os
import warnings
import weakref
from functools import cache, partial

import pytest
import torch
from combinations import every
from forks import on_ranks
from tiny_runs import COMPOSER
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from metriscope.build.run import objective_of
from metriscope.config.objective import fitting_miners, shipped
from metriscope.config.plain import plain
from metriscope.data.inputs.late import LateInputs
from metriscope.errors import InputError
from metriscope.models.heads import IdentityHead, LinearHead, MLPHead, ReweightHead
from metriscope.models.network import Embedding, Features, Network
from metriscope.models.paired import Pairs
from metriscope.models.trunk import Body, Trunk
from metriscope.models.two_tower import two_tower
from metriscope.objectives.samples import Moment, Spaces
from metriscope.training.chunks import Chunks, check_chunks

LOSSES, MINERS = shipped("loss"), shipped("miner")
BATCH, INPUT, WIDTH, SIZE, CLASSES, NUMBER = 23, 6, 10, 5, 4, 30
SIZES = (1, 4, 22, 23, 64)
EXACT = {"rtol": 1e-9, "atol": 1e-9}


def network(dropout=0.0, head=None, dtype=torch.float64, **trunk):
    torch.manual_seed(0)
    layers = nn.Linear(INPUT, WIDTH), nn.ReLU(), nn.Dropout(dropout), nn.Linear(WIDTH, WIDTH), nn.Dropout(dropout)
    built = Trunk(Body(nn.Sequential(*layers), WIDTH), **trunk)
    head = LinearHead(WIDTH, SIZE) if head is None else head
    return Network(built, head, head.size).to(dtype)


def inputs(batch=BATCH, dtype=torch.float64, seed=1):
    return torch.randn(batch, INPUT, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def value(embedding):
    """Depends on all pairs of both spaces."""
    z, features = embedding.z.float() if embedding.z.dtype == torch.bfloat16 else embedding.z, embedding.features
    return (z @ z.T).exp().mean() + 0.1 * features.to(z.dtype).tanh().mean(0).pow(2).sum()


def gradients(*modules):
    return {name: p.grad.clone() for m in modules for name, p in m.named_parameters() if p.grad is not None}


def step(net, embed, given=value, x=None):
    net.zero_grad()
    found = given(embed(inputs() if x is None else x))
    found.backward()
    return found.detach(), gradients(net)


def same(found, wanted):
    torch.testing.assert_close(found, wanted, **EXACT)


class Noting(nn.Module):
    """Passes on what a network gives, and keeps a copy of it."""

    def __init__(self, net):
        super().__init__()
        self.net, self.seen = net, []
        net.register_forward_hook(lambda module, given, outputs: self.seen.append(outputs.z.detach().clone()))


@every(size=SIZES, batch=(1, 4, 8, BATCH))
def test_values_and_gradients_whether_or_not_chunks_divide_the_batch(size, batch):
    net, x = network(), inputs(batch)
    same(step(net, lambda x: Chunks(size)(net, x), x=x), step(net, net, x=x))


@every(head=(LinearHead(WIDTH, SIZE), IdentityHead(WIDTH)), space=("z", "raw", "features"), normalize=(True, False))
def test_a_loss_of_one_space_alone(head, space, normalize):
    net = network(head=head)
    net.normalize = normalize

    def of_one(embedding):
        return getattr(embedding, space).pow(3).sum() + embedding.z.sum() * (space == "z")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(step(net, lambda x: Chunks(4)(net, x), of_one), step(net, net, of_one))


def test_parts_of_weighted_features():
    net = network(head=ReweightHead(WIDTH))
    net.parts = 2
    same(step(net, lambda x: Chunks(4)(net, x)), step(net, net))


@every(dropout=(0.0, 0.4), size=(1, 4, 22))
def test_the_second_forward_pass_equals_the_first_to_the_bit(dropout, size):
    net = network(dropout)
    noting = Noting(net)
    torch.manual_seed(3)
    embedding = Chunks(size)(net, inputs())
    after = torch.get_rng_state()
    first, count = torch.cat(noting.seen), len(noting.seen)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    value(embedding).backward()
    assert torch.equal(torch.cat(noting.seen[count:]), first)
    assert torch.equal(first, embedding.z)
    assert torch.equal(torch.get_rng_state(), before), "the backward pass draws nothing"
    assert not torch.equal(before, after)


def test_gradients_with_dropout_are_those_of_the_chunks_side_by_side():
    net = network(0.4)

    def at_once(x):
        parts = zip(*(net(part) for part in x.split(4)), strict=True)
        return Embedding(*(torch.cat(part) for part in parts))

    torch.manual_seed(3)
    wanted = step(net, at_once)
    torch.manual_seed(3)
    same(step(net, lambda x: Chunks(4)(net, x)), wanted)


def test_two_forward_passes_before_one_backward_pass():
    net, other = network(0.4), inputs(9, seed=2)

    def both(embed, other_embed):
        net.zero_grad()
        torch.manual_seed(3)
        one, two = embed(inputs()), other_embed(other)
        (value(one) + 2 * value(two) + (one.z[:9] * two.z).sum()).backward()
        return gradients(net)

    def by_chunks(x):
        parts = zip(*(net(part) for part in x.split(4)), strict=True)
        return Embedding(*(torch.cat(part) for part in parts))

    chunks = Chunks(4)
    same(both(lambda x: chunks(net, x), lambda x: chunks(net, x)), both(by_chunks, by_chunks))


def test_an_outer_scale_and_accumulation():
    net = network()

    def accumulated(embed):
        net.zero_grad()
        for seed in (1, 2):
            (value(embed(inputs(seed=seed))) * 1024 / 2).backward()
        return gradients(net)

    same(accumulated(lambda x: Chunks(4)(net, x)), accumulated(net))


def test_without_gradients_nothing_is_kept():
    net = network()
    with torch.no_grad():
        embedding = Chunks(4)(net, inputs())
    assert not any(output.requires_grad for output in embedding)
    same(embedding, net(inputs()))
    net.requires_grad_(False)
    assert not any(output.requires_grad for output in Chunks(4)(net, inputs()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_that_of_the_forward_pass(dtype):
    net = network(dtype=torch.float32)
    noting = Noting(net)
    dtypes = []
    net.trunk.register_forward_hook(lambda module, given, output: dtypes.append(output.dtype))
    x = inputs(dtype=torch.float32)

    def cast(embed):
        net.zero_grad()
        with torch.autocast("cpu", dtype):
            embedding = embed(x)
            found = value(embedding)
        found.backward()
        return embedding, gradients(net)

    wanted = cast(net)
    first = len(noting.seen)
    found = cast(lambda x: Chunks(4)(net, x))
    assert set(dtypes) == {dtype}
    assert torch.equal(torch.cat(noting.seen[first : first + 6]), torch.cat(noting.seen[first + 6 :]))
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=2e-3)
    with torch.autocast("cpu", dtype):
        found = step(net, lambda x: Chunks(4)(net, x), x=x)
        torch.testing.assert_close(found, step(net, net, x=x), rtol=0.05, atol=2e-3)
        Chunks(4)(net, x)
        assert net(x).z.requires_grad, "weights that were cast without a graph are not used again"
        value(net(x)).backward()


def test_a_scaler_finds_what_it_scaled():
    net, x = network(dtype=torch.float32), inputs(dtype=torch.float32)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)

    def scaled(embed):
        net.zero_grad()
        scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
        with torch.autocast("cpu", torch.float16):
            found = value(embed(x))
        scaler.scale(found).backward()
        scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(net.parameters(), 0.01)
        return norm, gradients(net)

    torch.testing.assert_close(scaled(lambda x: Chunks(4)(net, x)), scaled(net), rtol=0.05, atol=1e-3)


def test_half_precision_sums_chunks_in_float32():
    net, x = network(dtype=torch.bfloat16), inputs(dtype=torch.bfloat16)
    _, found = step(net, lambda x: Chunks(1)(net, x), x=x)
    _, wanted = step(net, net, x=x)
    assert all(gradient.dtype == torch.bfloat16 for gradient in found.values())
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=2e-3)


def test_nothing_of_a_batch_outlives_its_backward_pass():
    net, x = network(), inputs()
    hooks = len(net._forward_hooks) + len(net._backward_hooks)
    found = value(Chunks(4)(net, x))
    kept = weakref.ref(x)
    del x
    found.backward()
    gc.collect()
    assert kept() is None
    assert hooks == len(net._forward_hooks) + len(net._backward_hooks)
    with pytest.raises(RuntimeError, match="second time"):
        found.backward()


def test_a_graph_that_is_kept_gives_its_gradients_twice():
    net = network(0.4)
    found = value(Chunks(4)(net, inputs()))
    found.backward(retain_graph=True)
    once = gradients(net)
    found.backward()
    same(gradients(net), {name: 2 * gradient for name, gradient in once.items()})


@pytest.mark.parametrize("changes", ["inputs", "weights"])
def test_a_change_in_place_between_the_passes_is_an_error(changes):
    net, x = network(), inputs()
    found = value(Chunks(4)(net, x))
    with torch.no_grad():
        (x if changes == "inputs" else net.head.weight).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.backward()


def test_parameters_without_a_gradient_are_named_once():
    net, chunks = network(), Chunks(4)
    net.head.extra = nn.Linear(2, 2)
    with pytest.warns(UserWarning, match=r"head\.extra\.weight, head\.extra\.bias of the network get no gradient"):
        wanted = step(net, lambda x: chunks(net, x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(step(net, lambda x: chunks(net, x)), wanted)
    assert net.head.extra.weight.grad is None


class Shared(nn.Module):
    """Parameters whose gradients autograd keeps in one place, or in a single number."""

    def __init__(self):
        super().__init__()
        self.one, self.other, self.level = (nn.Parameter(torch.ones(WIDTH)) for _ in range(3))
        self.size = WIDTH

    def forward(self, x):
        return x + (self.one + self.other) ** 2 + self.level.sum()


def test_gradients_that_share_memory_are_added_apart():
    net = network(head=Shared())
    net.normalize = False

    def given(embedding):
        return embedding.z.pow(2).sum() + embedding.z.tanh().sum()

    same(step(net, lambda x: Chunks(4)(net, x), given), step(net, net, given))


def test_a_frozen_trunk_and_cached_features():
    net = network(freeze=True)
    embedding = Chunks(4)(net, inputs())
    assert (embedding.z.requires_grad, embedding.features.requires_grad) == (True, False)
    wanted = step(net, net)
    same(step(net, lambda x: Chunks(4)(net, x)), wanted)
    with torch.no_grad():
        features = Features(net.trunk(inputs()))
    same(step(net, lambda x: Chunks(4)(net, features)), wanted)


def test_inputs_are_converted_chunk_by_chunk_in_both_passes():
    net, lengths = network(0.4), []

    def convert(stored):
        lengths.append(len(stored))
        return stored.double() / 7 - 1 + 0.1 * torch.rand(stored.shape)

    stored = torch.randint(15, (BATCH, INPUT), dtype=torch.uint8)
    noting = Noting(net)
    value(Chunks(10)(net, LateInputs(stored, convert))).backward()
    assert lengths == [10, 10, 3] * 2
    assert torch.equal(torch.cat(noting.seen[:3]), torch.cat(noting.seen[3:]))
    lengths.clear()
    Chunks(BATCH)(net, LateInputs(stored, convert))
    assert lengths == [BATCH]


def test_batch_norm_is_refused_with_the_key_that_freezes_it():
    body = Body(nn.Sequential(nn.Linear(INPUT, WIDTH), nn.BatchNorm1d(WIDTH)), WIDTH)
    with pytest.raises(
        InputError, match=r"embed_chunk=8: batch norm of the backbone .*: set backbone\.freeze_batch_norm=true$"
    ):
        check_chunks(Network(Trunk(body), LinearHead(WIDTH, SIZE), SIZE), 8)
    with pytest.raises(InputError, match=r"of the head .*: choose a head without it, such as head=linear"):
        check_chunks(Network(Trunk(body, freeze_batch_norm=True), MLPHead(WIDTH, SIZE), SIZE), 8)
    frozen = Network(Trunk(body, freeze_batch_norm=True), LinearHead(WIDTH, SIZE), SIZE).double()
    check_chunks(frozen, 8)
    check_chunks(Network(Trunk(body, freeze=True), LinearHead(WIDTH, SIZE), SIZE), 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(step(frozen, lambda x: Chunks(4)(frozen, x)), step(frozen, frozen))


def test_a_layer_whose_state_changes_is_refused():
    net = network()
    net.trunk.body[3] = nn.utils.spectral_norm(net.trunk.body[3])
    with pytest.raises(InputError, match=r"trunk\.body\.3\.weight_u.* of the network change in a forward pass"):
        Chunks(4)(net, inputs())


# Every loss with the first miner that it takes, every miner with the first loss; some with a memory, a weighting, both
# spaces and synthetic references.
@cache
def cases():
    found = {(f"loss={loss}", f"miner={fitting_miners(part.accepts)[0]}") for loss, part in LOSSES.items()}
    for name, miner in MINERS.items():
        first = next(loss for loss in ("triplet", *LOSSES) if miner.kind in LOSSES[loss].accepts)
        found.add((f"loss={first}", f"miner={name}"))
    both = "loss.losses=[{name:triplet,space:trunk},{name:proxy_anchor,weight:0.5}]"
    further = [
        ("loss=triplet", "memory.size=30"),
        ("loss=supcon", "weighting=asp"),
        ("loss=triplet", "miner=batch_hard", "miner.stand_ins=true", "references=embedding_expansion"),
        ("loss=supcon", "loss.focal=1", "references=hard_pairs"),
        *(("loss=infonce", f"mixture={name}") for name in shipped("mixture")),
        ("loss=sum", both),
    ]
    return sorted(found) + further


@pytest.mark.parametrize("words", cases(), ids=" ".join)
def test_every_objective_learns_as_from_the_whole_batch(words):
    config = plain(COMPOSER([*words, "head.size=5"]))
    labels = torch.arange(BATCH) % CLASSES
    index = torch.arange(BATCH) % NUMBER
    records = []
    for chunks in (None, Chunks(4)):
        net = network()
        objective = objective_of(config, CLASSES, SIZE, trunk_size=WIDTH, num_samples=NUMBER).double()
        learning = [*net.parameters(), *objective.parameters()]
        optimizer = torch.optim.SGD([p for p in learning if p.requires_grad], lr=0.05)
        record = []
        for number in range(2):
            optimizer.zero_grad()
            x = inputs(seed=number)
            embedding = net(x) if chunks is None else chunks(net, x)
            moment = Moment(step=number, generator=torch.Generator().manual_seed(number))
            spaces = Spaces.of(embedding.z, labels, index, trunk=embedding.features)
            output = objective(spaces, moment).output
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                output.value.backward()
            optimizer.step()
            record += [output.value.detach(), output.terms, gradients(net, objective), dict(objective.named_buffers())]
        records.append(record)
    torch.testing.assert_close(records[1], records[0], **EXACT)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_compiled_network_draws_the_same_in_both_passes():
    torch._dynamo.reset()
    net = network(0.4)
    wanted = network(0.4)
    net.compile(backend="aot_eager")
    noting = Noting(net)

    def at_once(x):
        parts = zip(*(wanted(part) for part in x.split(4)), strict=True)
        return Embedding(*(torch.cat(part) for part in parts))

    torch.manual_seed(3)
    found = step(net, lambda x: Chunks(4)(net, x))
    torch.manual_seed(3)
    same(found, step(wanted, at_once))
    assert torch.equal(torch.cat(noting.seen[:6]), torch.cat(noting.seen[6:]))


def test_two_processes_reduce_once_and_find_what_one_finds(tmp_path):
    shares = (slice(0, 14), slice(14, BATCH))
    config = plain(COMPOSER(["loss=proxy_anchor", "head.size=5"]))

    class Learner(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()
            self.objective = objective_of(config, CLASSES, SIZE, num_samples=NUMBER).double()
            self.chunks = Chunks(4)

        def forward(self, x, labels):
            return self.objective(Spaces.of(self.chunks(self.net, x).z, labels)).output.value

    labels = torch.arange(BATCH) % CLASSES

    def trained(module, learner, rows, reductions):
        for number in range(2):
            x = inputs(seed=number)
            optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
            for accumulated in (True, False):
                context = learner.no_sync() if accumulated and learner is not module else warnings.catch_warnings()
                with context:
                    learner(x[rows], labels[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
        return {name: p.detach() for name, p in module.named_parameters()}

    def work():
        torch.distributed.init_process_group("gloo")
        module, reductions = Learner(), []
        learner = DistributedDataParallel(module)

        def reduce(state, bucket):
            reductions.append(len(bucket.parameters()))
            tensor = bucket.buffer() / 2
            return torch.distributed.all_reduce(tensor, async_op=True).get_future().then(lambda one: one.value()[0])

        learner.register_comm_hook(None, reduce)
        rank = int(os.environ["RANK"])
        found = trained(module, learner, shares[rank], reductions)
        assert sum(reductions) == 2 * len(found), "each parameter once in a step of two batches of many chunks"
        torch.save(found, tmp_path / f"{rank}.pt")
        torch.distributed.destroy_process_group()

    alone = Learner()
    wanted = trained(alone, alone, slice(None), [])
    on_ranks(work)
    for rank in (0, 1):
        same(torch.load(tmp_path / f"{rank}.pt", weights_only=True), wanted)


def test_chunks_of_pairs_have_two_rows_for_each():
    source = torch.Generator().manual_seed(1)
    given = Pairs(*(torch.randn(7, size, generator=source, dtype=torch.float64) for size in (3, 4)))
    torch.manual_seed(0)
    towers = two_tower((3, 4), first=[5], second=[6], size=WIDTH, batch_norm=False)
    net = Network(Trunk(towers), LinearHead(WIDTH, SIZE), SIZE).to(torch.float64)
    wanted = step(net, net, x=given)
    for size in (1, 3, 7):
        found = step(net, partial(Chunks(size), net), x=given)
        torch.testing.assert_close(found, wanted, **EXACT)
