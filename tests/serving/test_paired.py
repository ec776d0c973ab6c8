"""Models of pairs: each modality is embedded by its own tower, and searched among the other."""

import pytest
import torch
from trunks import described as backbone

from metriscope.config.files import section
from metriscope.errors import InputError
from metriscope.models.heads import IdentityHead
from metriscope.models.network import Network
from metriscope.models.trunk import Trunk
from metriscope.models.two_tower import two_tower
from metriscope.serving.description import Description
from metriscope.serving.embedder import Embedder
from metriscope.serving.onnx import graph
from metriscope.serving.usage import noun, usage


@pytest.fixture
def model():
    torch.manual_seed(0)
    towers = {"first": [5], "second": [], "size": 3}
    network = Network(Trunk(two_tower((3, 4), **towers)), IdentityHead(3), 3)
    config = {
        "backbone": dict(backbone("two_tower", **towers)),
        "head": dict(section("head", "identity")),
        "augmentation": dict(section("augmentation", "none")),
    }
    return Embedder(Description(**config, shape=[3, 4], files=False, sides=["audio", "visual"]), network.state_dict())


def test_each_side_is_embedded_by_its_tower(model):
    sound, image = torch.randn(6, 3), torch.randn(6, 4)
    first, second = model.embed(sound, side="audio", batch_size=4), model.embed(image, side="visual")
    tower = model.network.trunk.body
    torch.testing.assert_close(second.embeddings, torch.nn.functional.normalize(tower.second(image)))
    torch.testing.assert_close(first.embeddings, torch.nn.functional.normalize(tower.first(sound)))
    found = model.search(first, second, k=6)
    wanted = torch.cdist(first.embeddings, second.embeddings).argsort(1)
    assert found.indices.tolist() == wanted.tolist()
    assert noun(model) == "pairs of vectors (audio and visual)"
    assert 'model.embed(visual, side="visual")' in usage(model)


def test_what_a_model_of_pairs_does_not_do_is_one_line(model):
    vectors = torch.randn(2, 3)
    for given in ({}, {"side": "sound"}):
        with pytest.raises(InputError, match=r"one at a time: from Python, model\.embed\(vectors, side='audio'\) or"):
            model.embed(vectors, **given)
    with pytest.raises(InputError, match=r"reads vectors of the shape \(4,\), not \(3,\)"):
        model.embed(vectors, side="visual")
    with pytest.raises(InputError, match="a vector holds NaN or Inf"):
        model.embed(vectors.fill_(float("nan")), side="audio")
    with pytest.raises(InputError, match="there is nothing to embed"):
        model.embed(torch.zeros(0, 3), side="audio")
    with pytest.raises(InputError, match="an input for each modality, and a graph has one: export without --onnx"):
        graph(model)


def test_a_description_of_one_modality_has_the_digest_that_it_had():
    config = {"backbone": {}, "head": {}, "augmentation": {}, "shape": [3], "files": False}
    plain = Description(**config)
    # That of the version before there were sides: saved galleries name it.
    assert plain.digest({}) == "8b5d0c88c87ce4eb9ae1702fedfd218714840fb015c9c1e6af86cdaa92eb04cf"
    assert Description.of(plain.plain()) == plain
