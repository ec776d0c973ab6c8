import pytest

from metriscope.data.datasets import cifar10
from metriscope.errors import InputError


def test_cifar10_names_missing_and_corrupt_files(tmp_path):
    with pytest.raises(InputError, match=r"data_batch_1.*test_batch.*cifar-10-batches-py.*download=true"):
        cifar10.load(str(tmp_path))
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch", "batches.meta"]
    for name in names:
        (folder / name).write_bytes(b"not the real thing")
    with pytest.raises(InputError, match=r"corrupt.*data_batch_1.*batches\.meta.*md5"):
        cifar10.load(str(tmp_path))
