"""Losses with vectors of their own against loops: value, gradient of embeddings and of parameters, counts."""

import pytest
import torch
from combinations import every
from proxy_oracles import CASES, CLASSES, LAYOUTS, SIZE, batch, build, compare, gradients, vectors_of
from torch import nn

from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.miners.bands import NoMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.samples import Spaces

losses = pytest.mark.parametrize("name", CASES)
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-5}


@losses
@every(labels=LAYOUTS, dtype=list(TOLERANCE))
def test_value_gradient_and_counts(name, labels, dtype):
    loss, z, tolerance = build(name, dtype).eval(), batch(labels, dtype), TOLERANCE[dtype]
    output = loss(compare(z, labels), None)
    wanted = CASES[name].oracle(z, vectors_of(loss), labels)
    assert (int(output.active), int(output.terms)) == (wanted.terms, wanted.terms)
    assert output.terms.dtype == torch.int64
    assert output.value.dtype == dtype
    torch.testing.assert_close(output.value, wanted.value, rtol=tolerance, atol=tolerance)
    leaves = [z, *loss.parameters()]
    for found, expected in zip(gradients(output.value, leaves), gradients(wanted.value, leaves), strict=True):
        torch.testing.assert_close(found, expected, rtol=10 * tolerance, atol=10 * tolerance)


@losses
def test_similarities_carry_the_whole_pull_on_embeddings(name):
    """Diagnostics read pair weights from their gradient: what they hand on is all that embeddings get."""
    labels = LAYOUTS["all classes"]
    loss, z = build(name).eval(), batch(labels)
    output = loss(compare(z, labels), None)
    assert output.similarities.shape == (len(labels), len(vectors_of(loss)))
    by_pair, by_z = torch.autograd.grad(output.value, (output.similarities, z), retain_graph=True)
    pulled = torch.autograd.grad(output.similarities, z, by_pair)[0]
    if name.startswith(("large_margin_softmax", "sphereface")):
        # Beside the angle, the length of an embedding counts.
        by_z = by_z - (by_z * z).sum(1, keepdim=True) / (z * z).sum(1, keepdim=True) * z
    torch.testing.assert_close(pulled, by_z)
    if name != "cross_entropy":
        cosines = torch.nn.functional.cosine_similarity(z.unsqueeze(1), vectors_of(loss), dim=2)
        torch.testing.assert_close(output.similarities, cosines)


@losses
def test_degenerate_embeddings_give_finite_gradients(name):
    loss, labels = build(name, torch.float32).eval(), [0, 1, 2, 2, 3]
    z = batch(labels, torch.float32).detach()
    own = vectors_of(loss).detach()[:, :SIZE]
    z[0], z[1], z[2], z[3] = 0, own[1], -own[2], 1e6 * own[2]
    z.requires_grad_()
    output = loss(compare(z, labels), None)
    assert output.value.isfinite()
    for found in gradients(output.value, [z, *loss.parameters()]):
        assert found.isfinite().all()


@losses
def test_bfloat16_and_autocast_keep_the_digits(name):
    labels = LAYOUTS["all classes"]
    loss, z = build(name, torch.float32).eval(), batch(labels, torch.bfloat16)
    plain = loss(compare(z.detach().float(), labels), None).value
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = loss(compare(z, labels), None)
    assert output.value.dtype == torch.float32
    torch.testing.assert_close(output.value, plain, rtol=0, atol=0)
    assert gradients(output.value, [z])[0].isfinite().all()


@losses
def test_one_class_alone(name):
    loss = build(name, num_classes=1)
    z = batch([0, 0])
    output = loss(compare(z, [0, 0]), None)
    assert output.value.isfinite()
    assert gradients(output.value, [z])[0].isfinite().all()
    if name == "proxy_nca":
        assert (float(output.value.detach()), int(output.terms)) == (0, 0)


@losses
def test_through_the_objective_every_parameter_learns(name):
    loss, labels = build(name, torch.float32), LAYOUTS["all classes"]
    z = batch(labels, torch.float32)
    step = Objective(Cosine(), NoMiner(), loss)(Spaces.of(z, torch.tensor(labels)))
    step.output.value.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in loss.parameters())
    optimizer = torch.optim.SGD([z, *loss.parameters()], lr=0.01)
    optimizer.step()
    assert loss.eval()(compare(z, labels), None).value < step.output.value


@losses
def test_initial_values_follow_the_global_generator(name):
    again = build(name).state_dict()
    assert again.keys() == build(name).state_dict().keys()
    assert all(torch.equal(value, again[key]) for key, value in build(name).state_dict().items())
    assert all(
        isinstance(p, nn.Parameter) and p.dtype == torch.float32 for p in build(name, torch.float32).parameters()
    )


PEERS = {
    "arcface": ("ArcFaceLoss", {"scale": 16, "margin": 28.64788975654116}, "W"),
    "cosface": ("CosFaceLoss", {"scale": 16}, "W"),
    "sub_center_arcface": ("SubCenterArcFaceLoss", {"scale": 16, "margin": 28.64788975654116}, "W"),
    "large_margin_softmax": ("LargeMarginSoftmaxLoss", {"scale": 2}, "W"),
    "sphereface": ("SphereFaceLoss", {"margin": 3, "scale": 8}, "W"),
    "normalized_softmax": ("NormalizedSoftmaxLoss", {}, "W"),
    "proxy_nca++": ("ProxyNCALoss", {"softmax_scale": 9}, "proxies"),
    "proxy_anchor": ("ProxyAnchorLoss", {"alpha": 8}, "proxies"),
    "soft_triple": ("SoftTripleLoss", {"centers_per_class": 3}, "fc"),
}


@pytest.mark.parametrize("name", PEERS)
def test_equals_pytorch_metric_learning(name):
    peers = pytest.importorskip("pytorch_metric_learning.losses")
    regularizers = pytest.importorskip("pytorch_metric_learning.regularizers")
    labels = LAYOUTS["all classes"]
    loss, z = build(name), batch(labels)
    class_name, arguments, attribute = PEERS[name]
    if name == "soft_triple":
        sparse = regularizers.SparseCentersRegularizer(CLASSES, 3)
        arguments = arguments | {"weight_regularizer": sparse, "weight_reg_weight": 0.2}
    peer = getattr(peers, class_name)(num_classes=CLASSES, embedding_size=SIZE, **arguments).double()
    per_class = len(vectors_of(loss)) // CLASSES
    # The peer lists the vectors of one class together, and may hold them as columns.
    vectors = vectors_of(loss).detach().view(per_class, CLASSES, SIZE).transpose(0, 1).reshape(-1, SIZE)
    peer_vectors = getattr(peer, attribute)
    peer_vectors.data = (vectors.T if attribute in ("W", "fc") else vectors).clone()
    value, wanted = loss(compare(z, labels), None).value, peer(z, torch.tensor(labels))
    torch.testing.assert_close(value, wanted, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients(value, [z]), gradients(wanted, [z]), rtol=1e-6, atol=1e-6)
    (by_peer,) = gradients(peer(z, torch.tensor(labels)), [peer_vectors])
    by_peer = by_peer.T if attribute in ("W", "fc") else by_peer
    by_peer = by_peer.reshape(CLASSES, per_class, SIZE).transpose(0, 1).reshape(-1, SIZE)
    (by_vectors,) = gradients(loss(compare(z, labels), None).value, [loss.proxies])
    torch.testing.assert_close(by_vectors, by_peer, rtol=1e-6, atol=1e-6)
