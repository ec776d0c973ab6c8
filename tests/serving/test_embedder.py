import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest
import served as served_parts
import torch
import yaml
from PIL import Image

import metriscope
from metriscope import compose_config, train
from metriscope.build.network import build_network
from metriscope.errors import InputError
from metriscope.serving.embedder import Embedder

TINY = ["trainer.max_epochs=1", "logger=files", "logger.figures=false", "evaluation.save_embeddings=true"]


def test_the_embeddings_of_a_loaded_run_are_those_of_its_test(served):
    folder, photos = served
    saved = np.load(folder / "embeddings.npz")
    model = metriscope.load(folder)
    found = model.embed(photos, batch_size=5)
    assert found.paths is not None
    assert len(found) == 24
    rows = torch.from_numpy(saved["embeddings"])
    distances = torch.cdist(rows.double(), found.embeddings.double()).min(1).values
    assert distances.max() < 1e-5


def test_files_arrays_tensors_and_pictures_of_the_same_image_embed_alike(served):
    folder, photos = served
    model = metriscope.load(folder)
    path = photos / "class 1" / "2.png"
    image = Image.open(path).copy()
    array = np.array(image)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    known = model.embed(path).embeddings
    for same in (str(path), [path], image, array, array[None], tensor, tensor[None], [image]):
        assert torch.equal(model.embed(same).embeddings, known)
    assert known.shape == (1, 8) == (1, model.size)
    assert known.dtype == torch.float32


def test_images_are_turned_upright(served, tmp_path):
    model = metriscope.load(served[0])
    image = Image.open(served[1] / "class 1" / "2.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise
    image.save(tmp_path / "turned.png", exif=turned)
    upright = model.embed(image.rotate(-90)).embeddings
    assert torch.equal(model.embed(tmp_path / "turned.png").embeddings, upright)
    assert torch.equal(model.embed(Image.open(tmp_path / "turned.png")).embeddings, upright)
    assert not torch.equal(model.embed(image).embeddings, upright)


def test_neighbours_are_those_of_brute_force(served):
    folder, photos = served
    model = metriscope.load(folder)
    gallery = model.embed(photos)
    assert gallery.labels is not None
    assert gallery.labels[:7] == ["class 0"] * 6 + ["class 1"]
    found = model.search(gallery, gallery, k=3)
    distances = torch.cdist(gallery.embeddings.double(), gallery.embeddings.double())
    distances.fill_diagonal_(torch.inf)
    wanted = distances.sort(dim=1, stable=True)
    assert torch.equal(found.indices, wanted.indices[:, :3])
    torch.testing.assert_close(found.distances.double(), wanted.values[:, :3], atol=1e-6, rtol=1e-5)
    first = model.search(photos / gallery.paths[5], gallery, k=2)
    assert first.indices[0, 0] == 5
    assert first.distances[0, 0] < 1e-6
    assert first.paths[0][0] == gallery.paths[5]
    for k in (99, 10**30):
        assert model.search(photos / gallery.paths[5], gallery, k=k).indices.shape == (1, 24)


def test_an_image_is_no_neighbour_of_itself_where_queries_and_gallery_are_one(served):
    model, photos = metriscope.load(served[0]), served[1]
    for gallery in (str(photos), photos.parent / "." / photos.name):
        assert not (model.search(photos, gallery, k=3).indices == torch.arange(24)[:, None]).any()
    assert (model.search(model.embed(photos), model.embed(photos), k=1).distances == 0).all()


def test_images_that_cannot_be_read_stop_or_are_skipped(served, tmp_path):
    folder, photos = served
    model = metriscope.load(folder)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    good = photos / "class 0" / "0.png"
    with pytest.raises(InputError, match=r"cannot read the image .*broken.png"):
        model.embed([good, broken])
    found = model.embed([broken, good, broken], unreadable="skip", batch_size=1)
    assert found.paths == [str(good)]
    assert len(found.skipped) == 2
    assert torch.equal(found.embeddings, model.embed(good).embeddings)
    with pytest.raises(InputError, match="none of 1 images can be read"):
        model.embed(broken, unreadable="skip")


def test_what_is_no_image_for_the_model_is_refused_in_a_line(served, tmp_path):
    model = metriscope.load(served[0])
    (tmp_path / "empty").mkdir()
    for given, line in [
        (tmp_path / "empty", "holds no image"),
        (tmp_path / "none.jpg", "no such file or folder"),
        ([], "the list is empty"),
        (3, "not int"),
        ([3], "not int"),
        (np.zeros((4, 4, 5), np.uint8), "1, 3 or 4 channels"),
        (torch.zeros(3, 4, 4), "has to be uint8"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), "1 or 3 channels"),
        (np.zeros((1, 2, 3, 4, 5), np.uint8), "neither one example nor a batch"),
    ]:
        with pytest.raises(InputError, match=line):
            model.embed(given)
    with pytest.raises(InputError, match="k=0"):
        model.search(served[1], served[1], k=0)
    with pytest.raises(InputError, match="choose fp32 or bf16"):
        model.embed(served[1], precision="fp8")
    with pytest.raises(InputError, match="choose stop or skip"):
        model.embed(served[1], unreadable="maybe")
    with pytest.raises(InputError, match="batch_size=0"):
        model.embed(served[1], batch_size=0)


def test_a_model_of_grey_images_reads_colour_and_other_sizes(tmp_path):
    outcome = train(compose_config(["dataset=digits", "head.size=4", *TINY, f"paths.output_dir={tmp_path}"]))
    model = metriscope.load(outcome.folder)
    digits = outcome.data.splits.test
    saved = torch.from_numpy(np.load(outcome.folder / "embeddings.npz")["embeddings"])
    found = model.embed(digits.inputs[:10]).embeddings
    torch.testing.assert_close(found, saved[:10])
    colour = Image.fromarray(digits.inputs[0, 0].numpy()).convert("RGB")
    torch.testing.assert_close(model.embed(colour).embeddings, saved[:1])
    assert model.embed(colour.resize((31, 17))).embeddings.shape == (1, 4)


def test_a_model_of_vectors_reads_vectors(tmp_path):
    outcome = train(compose_config(["dataset=synthetic", "head.size=4", *TINY, f"paths.output_dir={tmp_path}"]))
    model = metriscope.load(outcome.folder)
    vectors = outcome.data.splits.test.inputs[:5]
    saved = torch.from_numpy(np.load(outcome.folder / "embeddings.npz")["embeddings"])
    torch.testing.assert_close(model.embed(vectors).embeddings, saved[:5])
    assert model.embed(vectors[0].numpy()).embeddings.shape == (1, 4)
    with pytest.raises(InputError, match="reads vectors of 64 numbers"):
        model.embed(Image.new("RGB", (4, 4)))
    with pytest.raises(InputError, match="vectors of the shape"):
        model.embed(torch.zeros(1, 3))


def test_a_model_of_other_channels_reads_tensors():
    layers = served_parts.embedder()
    described = dataclasses.replace(layers.described, shape=[5, 20, 20])
    network = build_network(
        described.backbone, described.head, input_shape=(5, 20, 20), normalised_with=(None, None), seed=0
    )
    model = Embedder(described, network.state_dict())
    pixels = torch.randint(256, (3, 5, 20, 20), dtype=torch.uint8)
    assert model.embed(pixels).embeddings.shape == (3, model.size)
    for wrong in (Image.new("RGB", (20, 20)), pixels[0, :3], pixels[0].float()):
        with pytest.raises(InputError, match=r"images of 5 channels: give tensors of uint8 \(5, 20, 20\)"):
            model.embed(wrong)


def test_folders_without_a_model_are_refused_in_a_line(served, tmp_path):
    folder, _ = served
    with pytest.raises(InputError, match="no such folder"):
        metriscope.load(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"there are runs in it, such as .*seed0-"):
        metriscope.load(folder.parents[2])
    with pytest.raises(InputError, match="choose best or last"):
        metriscope.load(folder, "first")


def test_a_search_across_models_is_refused(served, tmp_path):
    model, other = metriscope.load(served[0]), metriscope.load(served[0])
    assert model.digest == other.digest
    changed = {key: value + 1 for key, value in other.network.state_dict().items()}
    other = Embedder(model.described, changed)
    assert model.digest != other.digest
    with pytest.raises(InputError, match="embedded by another model"):
        model.search(served[1], other.embed(served[1]))


@pytest.mark.processes
def test_loading_imports_neither_lightning_nor_hydra_nor_wandb(served):
    code = f"""
import sys, metriscope
metriscope.load({str(served[0])!r}).search({str(served[1])!r}, {str(served[1])!r}, k=1)
names = ("pytorch_lightning", "lightning_fabric", "hydra", "wandb", "torchmetrics")
print([name for name in names if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_code_that_a_file_names_is_not_run(served, tmp_path):
    folder = tmp_path / served[0].name
    shutil.copytree(served[0], folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["head"]["_target_"] = "os.system"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match=r"head: os.system does not ship with Metriscope"):
        metriscope.load(folder)
    config["head"] = {"_target_": "metriscope.models.heads.LinearHead", "size": {"_target_": "os.getpid"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match=r"head: a part within it does not ship"):
        metriscope.load(folder)
