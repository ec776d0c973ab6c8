"""A frozen trunk embeds once: whole runs with and without kept features, interrupted and distributed ones."""

import json
import os

import numpy as np
import pytest
import torch
from forks import DDP, on_ranks, started
from interruptions import MID_EPOCH, At, interrupt, same, traces
from omegaconf import OmegaConf
from PIL import Image
from tiny_runs import COMPOSER

from metriscope.app import train
from metriscope.config.compose import compose_config
from metriscope.config.rules import check
from metriscope.data.inputs.images import ImageFiles
from metriscope.errors import InputError
from metriscope.models.trunk import Trunk
from metriscope.run.identity import identity

FROZEN = ("backbone.freeze=true", "trainer.max_epochs=4")


@pytest.fixture
def go(tiny, tmp_path):
    """Trains a tiny run; features below ``cache``, every run in a study of its own unless told."""
    count = iter(range(1000))

    def start(*words, cache="cache", study=None):
        cfg = tiny(*FROZEN, *words)
        cfg.paths.cache_dir = str(tmp_path / cache)
        cfg.study = study or f"study{next(count)}"
        return train(cfg)

    return start


@pytest.fixture
def forwards(monkeypatch):
    """Sizes of the batches that a trunk has seen in this process."""
    sizes = []
    forward = Trunk.forward

    def counted(self, inputs):
        sizes.append(len(inputs))
        return forward(self, inputs)

    monkeypatch.setattr(Trunk, "forward", counted)
    return sizes


@pytest.fixture
def photos(tmp_path):
    """Sixty small photographs in three classes."""
    source = np.random.default_rng(0)
    for number in range(60):
        height, width = source.integers(20, 40, 2)
        path = tmp_path / "photos" / f"class {number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = source.integers(0, 120, (height, width, 3)) + 60 * (number % 3)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    words = ("dataset=folder", f"dataset.path={tmp_path / 'photos'}", "backbone=small_cnn", "backbone.widths=[4,8]")
    return [*words, "dataset.num_workers=0", "head.size=6", "sampler.batch_size=15"]


PLAIN = ("augmentation=none", "dataset.image_size=16")
VIEWS = ("augmentation.size=16", "augmentation.views=3")


@pytest.fixture
def go_photos(photos, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    plain = (
        "trainer=cpu",
        "logger=none",
        "evaluation.metrics.recall_at.k=[1,2]",
        "trainer.log_every_n_steps=1",
        *FROZEN,
    )
    count = iter(range(1000))

    def start(*words, study=None):
        paths = [f"paths.output_dir={tmp_path / 'outputs'}", f"paths.cache_dir={tmp_path / 'cache'}"]
        name = study or f"study{next(count)}"
        return train(COMPOSER([*plain, *photos, *paths, f"study={name}", *words]))

    yield start
    torch.set_num_threads(threads)


def kept(tmp_path, cache="cache"):
    return sorted((tmp_path / cache / "features").glob("*.array"))


def alike(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert value == pytest.approx(other[key], rel=1e-4, abs=1e-6), key


def test_a_run_comes_to_the_same_with_fewer_forward_passes(go, forwards, tmp_path):
    outcomes = {}
    for choice in ("false", "auto", "true"):
        forwards.clear()
        outcomes[choice] = go(f"backbone.cache_features={choice}", "evaluation.classification=true", cache=choice)
        if choice == "false":
            assert sum(forwards) > 4 * (90 + 10)
            assert not kept(tmp_path, choice)
        else:
            assert sum(forwards) == 90 + 10 + 100, "every example once"
            assert len(kept(tmp_path, choice)) == 3
    alike(outcomes["auto"].metrics, outcomes["false"].metrics)
    assert outcomes["auto"].metrics == outcomes["true"].metrics
    weights = [outcome.module.state_dict() for outcome in outcomes.values()]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-4, atol=1e-5)


def test_checkpoints_hold_the_whole_trunk(go):
    outcome = go()
    module = outcome.module
    stored = torch.load(outcome.folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert {name for name in stored if name.startswith("embedder.trunk.")} == {
        f"embedder.trunk.{name}" for name in module.embedder.trunk.state_dict()
    }
    test = outcome.data.splits.test
    with torch.no_grad():
        z = module.eval().embedder(test.inputs).z
    torch.testing.assert_close(z, module.evaluated.embeddings)


def test_the_next_run_finds_the_features(go, forwards):
    first = go()
    forwards.clear()
    second = go()
    assert forwards == []
    assert first.metrics == second.metrics
    go("head.size=4", "loss=contrastive")
    assert forwards == []


def test_other_weights_data_or_precision_are_embedded_anew(go, forwards, tmp_path):
    go()
    others = ("seed=1", "backbone.widths=[13]", "dataset.data_seed=1", "trainer.precision=bf16-mixed")
    for earlier, word in enumerate(others, start=1):
        assert len(kept(tmp_path)) == 3 * earlier
        forwards.clear()
        go(word)
        assert sum(forwards) == 200, word
        assert len(kept(tmp_path)) == 3 * (earlier + 1), word


def test_a_changed_weight_file_is_noticed(go, forwards, tmp_path):
    weights = tmp_path / "weights.pt"
    source = go(cache="other").module.embedder.trunk.body
    torch.save(source.state_dict(), weights)
    words = [f"backbone.weights={weights}"]
    first = go(*words)
    go(*words)
    forwards.clear()
    with torch.no_grad():
        source[1].weight.mul_(-1)
    torch.save(source.state_dict(), weights)
    changed = go(*words)
    assert sum(forwards) == 200
    alike(changed.metrics, go(*words, "backbone.cache_features=false").metrics)
    assert changed.metrics != first.metrics


@pytest.mark.parametrize("cut", [0.5, 0.999])
def test_half_written_features_are_never_used(go, forwards, tmp_path, cut):
    first = go()
    for path in kept(tmp_path):
        content = path.read_bytes()
        path.write_bytes(content[: int(cut * len(content))])
    forwards.clear()
    assert go().metrics == first.metrics
    assert sum(forwards) == 200


def test_a_run_that_augments_or_learns_runs_the_trunk(go, go_photos, forwards, tmp_path):
    go("backbone.freeze=false")
    go_photos("augmentation.size=16", "trainer.max_epochs=1")
    assert not kept(tmp_path)


@pytest.mark.parametrize("words", [PLAIN, VIEWS], ids=" ".join)
def test_photographs(go_photos, forwards, words):
    """Images as they are; or random crops and flips in three views that take turns over four epochs."""
    once = go_photos(*words)
    count = sum(forwards)
    splits = once.data.splits
    half = len(splits.train) + len(splits.validation)
    views = 3 * half if words == VIEWS else 0
    assert count == views + half + len(splits.test)
    each = go_photos(*words, "backbone.cache_features=false", "dataset.cache=none", "dataset.memory_limit_mb=0")
    assert sum(forwards) > count + 4 * len(splits.train)
    alike(once.metrics, each.metrics)
    forwards.clear()
    go_photos(*words, "loss=contrastive")
    assert forwards == []


@pytest.mark.parametrize("words", [PLAIN, VIEWS], ids=" ".join)
def test_images_of_kept_features_are_not_decoded(go_photos, monkeypatch, words):
    go_photos(*words)

    def decoded(*_):
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(ImageFiles, "decode_all", decoded)
    go_photos(*words, "loss=contrastive")


def test_views_differ_and_are_kept_one_by_one(go_photos, tmp_path):
    data = go_photos(*VIEWS, "trainer.max_epochs=1").data
    first, second = (data.serving.numbers(view) for view in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(data.serving.numbers(0), first)
    before = {path: path.stat().st_mtime_ns for path in kept(tmp_path)}
    go_photos(*VIEWS, "augmentation.views=4", "seed=0", "trainer.max_epochs=1")
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert len(kept(tmp_path)) == len(before) + 1, "a further view costs one view"


def test_folds_share_views(go_photos, forwards, tmp_path):
    """An image has the same view whichever fold is held out."""
    words = (*VIEWS, "dataset.validation=0.34", "trainer.max_epochs=1")
    once = go_photos(*words, "dataset.fold=0").data.serving
    forwards.clear()
    again = go_photos(*words, "dataset.fold=1").data.serving
    assert forwards == []
    items = [serving.splits.train.inputs.items for serving in (once, again)]
    drawn = [
        dict(zip(mine, serving.numbers(0), strict=True)) for mine, serving in zip(items, (once, again), strict=True)
    ]
    both = set(items[0]) & set(items[1])
    assert 0 < len(both) < len(items[0])
    assert all(torch.equal(drawn[0][item], drawn[1][item]) for item in both)


def test_a_changed_image_is_noticed(go_photos, forwards, tmp_path):
    go_photos(*PLAIN)
    image = next((tmp_path / "photos" / "class 0").glob("*.png"))
    Image.new("RGB", (30, 30), (250, 10, 10)).save(image)
    forwards.clear()
    changed = go_photos(*PLAIN)
    assert 0 < sum(forwards) < 60, "the half of the data in which the image is"
    alike(changed.metrics, go_photos(*PLAIN, "backbone.cache_features=false").metrics)


def test_galleries_still_show_images(go_photos):
    outcome = go_photos(*VIEWS, "logger=files", "trainer.max_epochs=1")
    assert (outcome.folder / "figures" / "retrieval_gallery.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["scheduler=cosine", "miner=random", "sampler=shuffle"],
        ["sampler.views=2", "sampler.labels=image", "loss=infonce", "augmentation.views=3"],
    ],
    ids=" ".join,
)
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(watch, tmp_path, words):
    """Stopped in the second of two views; an epoch of digits is five batches of 260."""
    small = ["dataset=digits", "backbone.widths=[4]", "head.size=6", "sampler.batch_size=260", "trainer=cpu"]
    quiet = ["trainer.log_every_n_steps=1", "logger=none", "evaluation.classification=false"]
    views = ["augmentation=crop_flip", "augmentation.views=2", *FROZEN, "trainer.max_epochs=3"]
    folders = [f"paths.output_dir={tmp_path / 'outputs'}", f"paths.cache_dir={tmp_path / 'cache'}"]
    cfg = COMPOSER([*small, *quiet, *views, *folders, *words])
    watch()
    outcome = train(cfg)
    wanted = traces(outcome.folder)
    outcome.folder.rename(outcome.folder.with_name("undisturbed"))
    watch(At(interrupt(), step=MID_EPOCH))
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGINT"):
        train(cfg)
    watch()
    resumed = train(cfg)
    assert json.loads((resumed.folder / "run.json").read_text())["resumed"] == 1
    same(traces(resumed.folder), wanted)


def test_two_processes_embed_once_between_them(tiny, tmp_path):
    cfg = tiny(*FROZEN, *DDP)
    cfg.paths.cache_dir = str(tmp_path / "cache")

    def work():
        forward = Trunk.forward
        seen = []
        Trunk.forward = lambda self, inputs: seen.append(len(inputs)) or forward(self, inputs)
        train(cfg)
        (tmp_path / f"seen-{os.environ['RANK']}").write_text(str(sum(seen)))

    on_ranks(work, ready=started(cfg))
    assert sum(int(path.read_text()) for path in tmp_path.glob("seen-*")) == 200
    assert len(kept(tmp_path)) == 3


def test_bfloat16_for_the_trunk_alone(go, forwards):
    """The trunk's precision is not the head's, and the same whether features are kept or computed."""
    outcomes = [go("backbone.precision=bf16", f"backbone.cache_features={choice}") for choice in ("true", "false")]
    alike(outcomes[0].metrics, outcomes[1].metrics)
    exact = go()
    assert exact.metrics != outcomes[0].metrics
    module = outcomes[0].module
    assert all(tensor.dtype != torch.bfloat16 for tensor in module.state_dict().values())


def test_kept_features_are_the_same_run(tiny):
    """What only saves time does not make a run another one."""

    def hashed(*words):
        return identity(OmegaConf.to_container(tiny(*FROZEN, *words), resolve=True))

    assert len({hashed(f"backbone.cache_features={choice}") for choice in ("auto", "true", "false")}) == 1
    assert hashed("backbone.precision=bf16") != hashed()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["backbone.cache_features=true"], "backbone.cache_features=true needs a trunk that does not learn"),
        (["backbone.precision=bf16"], "backbone.precision is for a trunk that does not learn"),
        (["backbone.precision=fp16"], "backbone.precision=fp16: it has to be one of bf16"),
        (["backbone.cache_features=yes_please"], "backbone.cache_features=yes_please: it has to be one of auto"),
        (
            ["backbone.freeze=true", "backbone.cache_features=true", "augmentation=dml_224"],
            "backbone.cache_features=true needs inputs that repeat",
        ),
        (["augmentation.views=2"], "augmentation.views=2: it has to be null, as nothing here is random"),
        (["augmentation=dml_224", "augmentation.views=0"], "augmentation.views=0: it has to be"),
        (["augmentation=dml_224", "augmentation.resize=200"], "augmentation.resize=200: the centre crop needs"),
        (["augmentation=dml_224", "augmentation.scale=[0.5,2]"], "augmentation.scale=[0.5, 2]: it has to be two"),
        (["augmentation=dml_224", "augmentation.ratio=1"], "augmentation.ratio=1: it has to be two numbers"),
        (["augmentation=dml_224", "augmentation.crop=center"], "augmentation.crop=center: it has to be one of none"),
        (["dataset=folder", "dataset.cache=ram"], "dataset.cache=ram: it has to be one of auto, disk, none"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_settings_that_cannot_work(words, line):
    with pytest.raises(InputError) as error:
        check(compose_config(words))
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_an_augmentation_of_ones_own_repeats_or_is_refused(tiny):
    cfg = tiny(*FROZEN, "backbone.cache_features=true", "trainer.max_epochs=1")
    cfg.augmentation = {"_target_": "own_parts.Jitter", "name": "jitter"}
    with pytest.raises(InputError, match=r"cache_features=true needs inputs that repeat: this augmentation draws anew"):
        train(cfg)
    cfg.augmentation = {**cfg.augmentation, "views": 2}
    assert train(cfg).trained


def test_features_that_cannot_be_kept_are_one_line(tiny, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    cfg = tiny(*FROZEN)
    cfg.paths.cache_dir = str(tmp_path / "cache")
    with pytest.raises(InputError, match=r"cannot write the cache .*backbone\.cache_features=false"):
        train(cfg)
