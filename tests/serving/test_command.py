import pytest

from metriscope.serving.command import name_of, public_command


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["/a/b/train.py", "loss=triplet", "seed=3"], "python train.py loss=triplet seed=3"),
        (["/usr/bin/metriscope", "train", "-m", "seed=range(3)"], "metriscope train -m 'seed=range(3)'"),
        (["/x/site-packages/metriscope/__main__.py", "train"], "python -m metriscope train"),
        (["/usr/bin/pytest", "-q"], None),
        ([], None),
        (
            ["train.py", "experiment=paper/one", "dataset.path=photos/mine"],
            "experiment=paper/one dataset.path=photos/mine",
        ),
        (["train.py", "dataset.path=/home/al ice/photos/"], "dataset.path=photos"),
        (["train.py", "dataset.path=../../al/photos", "x=./y", "z=~al/z"], "dataset.path=photos x=y z=z"),
        (["train.py", r"dataset.path=C:\al\photos"], "dataset.path=photos"),
        (["train.py", "a=[/al/x,/al/y]", "b={c:/al/x}", "c=/al/x,/al/y", "d=s3://al/x", "e=smb://box/x"], ""),
        (
            ["train.py", "--config-dir", "/home/al/configs", "--config-dir=/al/more"],
            "--config-dir configs --config-dir=more",
        ),
        (["train.py", "paths.output_dir=out", "logger=wandb", "logger.x=1", "study=s", "hydra/launcher=slurm"], ""),
        (["train.py", "tags=[box-1]", "note=box-1", "note=box-12", "+x=on box-1."], "note=box-12"),
    ],
)
def test_a_command_holds_no_paths_and_no_host(words, shown):
    found = public_command(words, "box-1")
    if words[:1] == ["train.py"]:
        shown = f"python train.py {shown}".strip()
    assert found == shown


def test_names_of_paths():
    assert [name_of(path) for path in ("a", "/a/b.pth", "a/b/", r"C:\a\b.pth")] == ["a", "b.pth", "b", "b.pth"]
