import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from PIL import ExifTags, Image

import metriscope
from metriscope import compose_config, train
from metriscope.cli import run as run_command
from metriscope.errors import InputError
from metriscope.models.heads import LinearHead
from metriscope.serving.description import Description
from metriscope.serving.export import export
from metriscope.serving.preparation import Preparation
from metriscope.serving.recipe import pixels_code
from metriscope.serving.stored import read_exported

safetensors = pytest.importorskip("safetensors.torch")

TINY = ["trainer.max_epochs=1", "logger=files", "logger.figures=false"]


def write_images(root, classes=4, each=12, size=20):
    source = np.random.default_rng(0)
    for label in range(classes):
        folder = root / f"class {label}"
        folder.mkdir(parents=True)
        for number in range(each):
            pixels = source.integers(0, 80, (size, size, 3)) + 40 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("exported")
    write_images(root / "photos")
    words = ["dataset=folder", f"dataset.path={root / 'photos'}", "dataset.validation=0.25", "augmentation=none"]
    small = ["backbone=small_cnn", "backbone.widths=[4,8]", "head.size=8", "sampler.batch_size=8"]
    config = compose_config([*words, *small, *TINY, "dataset.num_workers=0", f"paths.output_dir={root / 'outputs'}"])
    return train(config).folder, root / "photos"


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    return export(run[0], tmp_path_factory.mktemp("models") / "model", onnx=True).folder


def said(folder, key, value):
    """The run folder with another value in its record."""
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, key: value}))
    return folder


def copied(folder, root):
    return shutil.copytree(folder, root / folder.name)


def front_of(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_the_exported_model_gives_the_embeddings_of_the_run_to_the_bit(run, exported):
    model, other = metriscope.load(run[0]), metriscope.load(exported)
    assert other.digest == model.digest
    assert torch.equal(other.embed(run[1]).embeddings, model.embed(run[1]).embeddings)
    assert model.search(run[1], other.embed(run[1]), k=1).indices.shape == (48, 1)
    assert sorted(path.name for path in exported.iterdir()) == [
        "README.md", "config.json", "model.onnx", "model.safetensors",
    ]  # fmt: skip
    assert os.listdir(exported.parent) == ["model"]


def test_the_graph_gives_the_embeddings_of_the_run_for_any_batch(run, exported):
    session = pytest.importorskip("onnxruntime").InferenceSession(exported / "model.onnx")
    model = metriscope.load(run[0])
    paths = sorted(run[1].rglob("*.png"))
    pixels = torch.stack([model.preparation.pixels(path) for path in paths]).numpy()
    wanted = model.embed(paths).embeddings.numpy()
    for size in (1, 5, 24):
        found = session.run(None, {"pixels": pixels[:size]})[0]
        assert np.abs(found - wanted[:size]).max() < 1e-5
    told = json.loads((exported / "config.json").read_text())["onnx"]
    assert (told["images"], told["same"]) == ("test", 1.0)
    assert told["deviation"] < 1e-5


def test_the_code_of_the_card_prepares_images_as_the_run_does(run, exported, tmp_path):
    code = re.search(r"```python\n(import numpy.*?)\n\n\nimport onnx", (exported / "README.md").read_text(), re.DOTALL)
    assert code is not None
    names: dict = {}
    exec(code[1], names)
    model = metriscope.load(exported)
    wide = tmp_path / "wide.jpg"
    Image.effect_noise((50, 30), 60).convert("RGB").save(wide)
    grey = tmp_path / "grey.png"
    Image.effect_noise((20, 20), 60).save(grey)
    for path in (run[1] / "class 0" / "1.png", wide, grey):
        assert np.array_equal(names["pixels"](path), model.preparation.pixels(path).numpy())


CROP = {"crop": "random_resized", "size": 24}


@pytest.mark.parametrize(
    ("arguments", "shape", "files", "side"),
    [
        ({}, [3, 20, 20], True, 16),
        (CROP, [3, 20, 20], True, None),
        (CROP, [3, 40, 40], True, 40),
        ({}, [1, 28, 20], False, None),
        (CROP, [1, 28, 28], False, None),
        (CROP, [3, 33, 28], False, None),
        ({"crop": "random_resized", "size": 64}, [3, 28, 28], False, None),
    ],
)
def test_the_code_of_the_card_scales_and_crops(tmp_path, arguments, shape, files, side):
    target = "metriscope.data.inputs.augment.Augmentation"
    described = Description({}, {}, {"_target_": target, **arguments}, shape, files, image_size=side)
    preparation = Preparation(described)
    names: dict = {}
    exec(pixels_code(preparation), names)
    for number, (size, ending) in enumerate([((90, 41), "jpg"), ((20, 31), "png"), ((200, 200), "jpg")]):
        path = tmp_path / f"{number}.{ending}"
        noise = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), np.uint8)
        turned = Image.Exif()
        turned[ExifTags.Base.Orientation] = 6 if number == 0 else 1
        Image.fromarray(noise).save(path, exif=turned)
        wanted = preparation.sized(preparation.pixels(path)[None])[0]
        assert np.array_equal(names["pixels"](path), wanted.numpy())


def test_the_card_says_what_the_model_is(run, exported):
    text = (exported / "README.md").read_text()
    front = front_of(text)
    assert front["library_name"] == "metriscope"
    assert {"metric-learning", "onnx"} <= set(front["tags"])
    assert "recall_at_1" in front["metrics"]
    summary = json.loads((run[0] / "summary.json").read_text())
    assert f"| Recall@1 | {summary['test/recall_at_1']:.4g} |" in text
    for line in (
        "| trunk | small_cnn, initial weights: random |",
        "D = 8, scaled to unit length (L2)",
        "protocol closed_set",
        "| part | images | classes |\n| --- | --- | --- |\n| train | ",
        "**not verified**",
        "n = 1: no other seed",
        'model = metriscope.load("FOLDER")',
        "metriscope search FOLDER",
        "*to be filled in*",
        "From Python, so that no command is known.",
    ):
        assert line in text


def test_the_card_has_intervals_where_other_seeds_are_beside_the_run(run, tmp_path):
    folder = copied(run[0], tmp_path)
    summary = json.loads((folder / "summary.json").read_text())
    for seed, recall in ((1, 0.4), (2, 0.6)):
        other = folder.with_name(f"seed{seed}-{seed:08x}")
        shutil.copytree(folder, other)
        config = yaml.safe_load((other / "config.yaml").read_text())
        (other / "config.yaml").write_text(yaml.safe_dump({**config, "seed": seed}))
        (other / "summary.json").write_text(json.dumps({**summary, "test/recall_at_1": recall}))
    shutil.copytree(folder, folder.with_name(f"{folder.name}.1"))  # set aside: no repeat
    (folder / "summary.json").write_text(json.dumps({**summary, "test/recall_at_1": 0.5}))
    text = (export(folder, tmp_path / "model").folder / "README.md").read_text()
    assert "| mean over 3 seeds | 95% interval of the mean |" in text
    assert "| Recall@1 | 0.5 | 0.5 | [0.2516, 0.7484] |" in text
    assert "n = 3: the finished runs" in text


def test_the_card_holds_no_markup_paths_or_host_of_the_run(run, tmp_path):
    folder = copied(run[0], tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["dataset"]["name"] = "<img src=x> | `a` [b](c)\n# d"
    config["backbone"]["weights"] = "/home/alice/nets/best.pth"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    words = [
        "/home/alice/work/train.py", "dataset=folder", "dataset.path=/home/alice/photos", "loss.margin=0.1",
        "paths.data_dir=/data/alice", "evaluation.x=[/a/b,/c/d]", "logger.uri=http://box/x", "note=on box-7", "x=```",
    ]  # fmt: skip
    said(said(folder, "command", words), "host", "box-7")
    text = (export(folder, tmp_path / "model").folder / "README.md").read_text()
    body = text.split("---\n", 2)[2]
    for absent in ("<img", "\n# d", "alice", "box", "/data", "/home", str(tmp_path), "/a/b"):
        assert absent not in body
    assert "python train.py dataset=folder dataset.path=photos loss.margin=0.1 'x=```'" in body
    assert "````console" in body
    assert "initial weights: best.pth" in body
    assert "alice" not in text


def test_a_checkpoint_that_was_not_tested_has_no_figures(run, tmp_path):
    text = (export(run[0], tmp_path / "model", "last").folder / "README.md").read_text()
    assert "the figures of the run are of its checkpoint best" in text
    assert "metrics" not in front_of(text)
    folder = said(copied(run[0], tmp_path), "status", "interrupted")
    with pytest.raises(InputError, match="is not finished"):
        export(folder, tmp_path / "other")
    text = (export(folder, tmp_path / "other", "last").folder / "README.md").read_text()
    assert "the run is not finished (interrupted)" in text


def test_an_existing_folder_is_replaced_only_on_request_and_only_if_it_is_an_export(run, tmp_path):
    out = tmp_path / "deep" / "model"
    export(run[0], out)
    with pytest.raises(InputError, match="--overwrite replaces it"):
        export(run[0], out)
    (out / "model.safetensors").write_bytes(b"damaged")
    export(run[0], out, overwrite=True)
    metriscope.load(out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes.txt, which no export has written"):
        export(run[0], out, overwrite=True)
    (out / "notes.txt").unlink()
    (out / "config.json").write_text('{"architectures": ["other"]}')
    with pytest.raises(InputError, match="holds no exported model"):
        export(run[0], out, overwrite=True)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(out)
    (tmp_path / "empty").mkdir()
    for name, line in (("file", "is a file"), ("link", "is a link"), ("empty", "holds no exported model")):
        with pytest.raises(InputError, match=line):
            export(run[0], tmp_path / name, overwrite=True)
    with pytest.raises(InputError, match="cannot write"):
        export(run[0], tmp_path / "file" / "model")
    assert sorted(os.listdir(out.parent)) == ["model"]


def test_an_export_that_fails_leaves_nothing(run, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metriscope.serving.export.write_json", full)
    with pytest.raises(InputError, match=r"cannot write .*model: No space left on device"):
        export(run[0], tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_a_graph_that_deviates_is_not_written(run, tmp_path, monkeypatch):
    from metriscope.serving import onnx

    right = onnx._by_onnx
    monkeypatch.setattr(onnx, "_by_onnx", lambda *given: right(*given) + 1e-4)
    with pytest.raises(InputError, match=r"deviates from torch by 0.0001, and .*% of \d+ queries"):
        export(run[0], tmp_path / "model", onnx=True)
    assert os.listdir(tmp_path) == []


def test_data_that_are_gone_are_replaced_by_random_pictures(run, tmp_path, capsys):
    folder = copied(run[0], tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["dataset"]["path"] = str(tmp_path / "gone")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert run_command("export", [str(folder), "-o", str(tmp_path / "model"), "--onnx"]) == 0
    printed = capsys.readouterr()
    assert re.fullmatch(
        r"note: the ONNX graph was compared on random examples: .*gone.*\n"
        r"model.onnx: largest deviation from torch \S+, the same neighbours for 100.00% of 1,000 queries\n"
        r"written: .*model \([0-9a-f]{8}\); .*\n",
        printed.out,
    )
    assert printed.err == ""
    assert "1,000 random images" in (tmp_path / "model" / "README.md").read_text()


def test_code_that_a_run_names_is_not_run_by_an_export(run, tmp_path):
    folder = copied(run[0], tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["dataset"]["_target_"] = "os.system"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert "os.system does not ship" in str(export(folder, tmp_path / "model", onnx=True).note)
    config["head"]["_target_"] = "os.system"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match=r"head: os.system does not ship"):
        export(folder, tmp_path / "other")


def damage(folder, kind):
    tensors, config = folder / "model.safetensors", folder / "config.json"
    content = json.loads(config.read_text())
    if kind == "bit":
        flipped = bytearray(tensors.read_bytes())
        flipped[-5] ^= 16
        tensors.write_bytes(flipped)
    elif kind == "header":
        flipped = bytearray(tensors.read_bytes())
        flipped[flipped.index(b'"digest":"') + 12] ^= 1
        tensors.write_bytes(flipped)
    elif kind == "no tensors":
        tensors.write_bytes(b"x" * 64)
        config.write_text(json.dumps({**content, "tensors": hashlib.sha256(b"x" * 64).hexdigest()}))
    elif kind == "others":
        other = safetensors.save({"x": torch.ones(2)})
        tensors.write_bytes(other)
        config.write_text(json.dumps({**content, "tensors": hashlib.sha256(other).hexdigest()}))
    elif kind == "size":
        config.write_text(json.dumps({**content, "image_size": 8}))
    elif kind == "format":
        config.write_text(json.dumps({**content, "format": 99}))
    elif kind == "type":
        config.write_text(json.dumps({**content, "shape": "large"}))
    elif kind == "digest":
        del content["digest"]
        config.write_text(json.dumps(content))
    elif kind == "json":
        config.write_text("{")
    elif kind == "link":
        tensors.rename(folder / "elsewhere")
        tensors.symlink_to(folder / "elsewhere")
    elif kind == "code":
        config.write_text(json.dumps({**content, "head": {"_target_": "os.system"}}))
    else:
        (folder / kind).unlink()


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("bit", "is damaged"),
        ("header", "is damaged"),
        ("no tensors", "model.safetensors is no file of tensors"),
        ("others", "is damaged"),
        ("size", "is damaged"),
        ("format", r"config.json: a later version of Metriscope wrote it \(format 99"),
        ("type", r"config.json: shape=large"),
        ("digest", "is no config of an exported model"),
        ("json", "is no config of an exported model"),
        ("link", "model.safetensors is not read: it is a link"),
        ("code", "is damaged"),
        ("config.json", "config.json is missing"),
        ("model.safetensors", "model.safetensors is missing"),
    ],
)
def test_a_damaged_export_is_one_line(exported, tmp_path, kind, line):
    folder = copied(exported, tmp_path)
    damage(folder, kind)
    with pytest.raises(InputError, match=line) as error:
        metriscope.load(folder)
    assert "\n" not in str(error.value)


def test_an_export_of_foreign_code_is_loaded_only_where_it_is_trusted(run, exported, tmp_path, monkeypatch):
    class OwnHead(LinearHead):
        pass

    own = ModuleType("own_parts")
    own.OwnHead = OwnHead
    monkeypatch.setitem(sys.modules, "own_parts", own)
    folder = copied(exported, tmp_path)
    described, state = read_exported(folder)
    changed = replace(described, head={**described.head, "_target_": "own_parts.OwnHead"})
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **changed.plain(), "digest": changed.digest(state)}))
    with pytest.raises(InputError, match=r"head: own_parts.OwnHead does not ship .*trust_code=True"):
        metriscope.load(folder)
    found = metriscope.load(folder, trust_code=True).embed(run[1]).embeddings
    assert torch.equal(found, metriscope.load(exported).embed(run[1]).embeddings)


def test_an_exported_model_has_no_checkpoints_and_is_not_exported_again(exported, tmp_path):
    with pytest.raises(InputError, match="leave out checkpoint=best"):
        metriscope.load(exported, "best")
    with pytest.raises(InputError, match="is an exported model already"):
        export(exported, tmp_path / "model")


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("safetensors.torch", r"pip install safetensors, or the extra metriscope\[export\]"),
        ("onnxruntime", r"pip install onnxruntime \(the extra: metriscope\[onnx\]\)"),
    ],
)
def test_a_missing_package_is_named(run, tmp_path, monkeypatch, package, line):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=line):
        export(run[0], tmp_path / "model", onnx=True)
    assert os.listdir(tmp_path) == []


def test_a_config_without_its_sections_is_one_line(run, tmp_path):
    folder = copied(run[0], tmp_path)
    (folder / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(InputError, match=r"config.yaml lacks 'dataset'"):
        export(folder, tmp_path / "model")


def test_a_trunk_in_bfloat16_has_no_graph(run, tmp_path):
    folder = copied(run[0], tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["backbone"] |= {"freeze": True, "precision": "bf16"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match=r"the trunk computes in bf16 \(backbone.precision\)"):
        export(folder, tmp_path / "model", onnx=True)


def test_a_broken_checkpoint_is_one_line(run, tmp_path):
    folder = copied(run[0], tmp_path)
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"best.ckpt"):
        export(folder, tmp_path / "model")


def test_a_model_of_vectors_is_exported(tmp_path):
    outcome = train(
        compose_config(
            [
                "dataset=synthetic",
                "dataset.per_class=20",
                "sampler.batch_size=50",
                "backbone.widths=[16]",
                "head.size=4",
                *TINY,
                f"paths.output_dir={tmp_path}",
            ]
        )
    )
    done = export(outcome.folder, tmp_path / "model", onnx=True)
    assert done.check is not None
    assert done.check.images == "test"
    vectors = outcome.data.splits.test.inputs[:5]
    wanted = metriscope.load(outcome.folder).embed(vectors).embeddings
    assert torch.equal(metriscope.load(done.folder).embed(vectors).embeddings, wanted)
    session = pytest.importorskip("onnxruntime").InferenceSession(done.folder / "model.onnx")
    found = session.run(None, {"vectors": vectors.numpy()})[0]
    assert np.abs(found - wanted.numpy()).max() < 1e-5
    assert "`vectors` an array (N, F)" in (done.folder / "README.md").read_text()


@pytest.mark.processes
def test_exporting_imports_neither_lightning_nor_hydra_nor_wandb(run, tmp_path):
    code = f"""
import sys
from pathlib import Path
from metriscope.serving.export import export
export(Path({str(run[0])!r}), Path({str(tmp_path / "model")!r}), onnx=True)
names = ("pytorch_lightning", "lightning_fabric", "hydra", "wandb", "torchmetrics")
print([name for name in names if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""
