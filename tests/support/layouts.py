"""The data sets as their authors publish them, with few and small images: every file that is read, in its form.

Each function makes one layout below ``root`` and returns the number of images per class, in the order of the
class ids. Image i of a class of id c is of the colour (c, i, 128), as far as JPEG keeps it.
"""

import csv
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

BIRDS = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross", "004.Groove_billed_Ani")
# Not in alphabetical order, as in the original; one name has a slash.
CARS = ("AM General Hummer SUV 2000", "Audi V8 Sedan 1994", "Audi 100 Sedan 1994", "Ram C/V Cargo Van Minivan 2012")
CARS_HALVES = ((3, 2, 4, 3), (2, 3, 1, 3))  # per class in the published train and test folders


def image(path, label=0, number=0, size=(20, 16), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (20 * label % 256, 10 * number % 256, 128)).convert(mode).save(path)


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def cub(root, counts=(4, 3, 5, 4), classes=BIRDS):
    """``root/CUB_200_2011/``, with the split of images that must not be used."""
    folder, files, labels = Path(root) / "CUB_200_2011", [], []
    for label, (name, count) in enumerate(zip(classes, counts, strict=True), start=1):
        for number in range(count):
            files.append(f"{name}/{name.partition('.')[2]}_{number:04}_{18 + number}.jpg")
            labels.append(label)
            image(folder / "images" / files[-1], label, number)
    write(folder / "images.txt", [f"{i} {file}" for i, file in enumerate(files, start=1)])
    write(folder / "image_class_labels.txt", [f"{i} {label}" for i, label in enumerate(labels, start=1)])
    write(folder / "classes.txt", [f"{i} {name}" for i, name in enumerate(classes, start=1)])
    write(folder / "train_test_split.txt", [f"{i} {i % 2}" for i in range(1, len(files) + 1)])
    write(folder / "bounding_boxes.txt", [f"{i} 1.0 1.0 9.0 9.0" for i in range(1, len(files) + 1)])
    return list(counts)


def _struct(records):
    """A 1 x N MATLAB struct array."""
    fields = list(records[0])
    array = np.zeros((1, len(records)), dtype=[(field, object) for field in fields])
    for i, record in enumerate(records):
        array[0, i] = tuple(np.uint8(v) if isinstance(v, int) else v for v in record.values())
    return array


def _cell(names):
    cell = np.empty((1, len(names)), dtype=object)
    cell[0, :] = names
    return cell


def _cars():
    """(half, class id from 1, number within its half), in the order of the files."""
    for half, counts in enumerate(CARS_HALVES):
        yield from ((half, label, i) for label, count in enumerate(counts, start=1) for i in range(count))


def _car_counts():
    return [sum(counts) for counts in zip(*CARS_HALVES, strict=True)]


def cars_car_ims(root):
    """``car_ims/000001.jpg`` with ``cars_annos.mat``."""
    box = {f"bbox_{corner}": 1 for corner in ("x1", "y1", "x2", "y2")}
    records = []
    for i, (half, label, number) in enumerate(_cars(), start=1):
        name = f"car_ims/{i:06}.jpg"
        image(Path(root) / name, label, number)
        records.append({"relative_im_path": name, **box, "class": label, "test": half})
    savemat(Path(root) / "cars_annos.mat", {"annotations": _struct(records), "class_names": _cell(CARS)})
    return _car_counts()


def cars_devkit(root, nested=False):
    """``cars_train/``, ``cars_test/`` and ``devkit/``; file names repeat between the two folders."""
    root = Path(root)
    (root / "devkit").mkdir(parents=True)
    for half, name in enumerate(("cars_train", "cars_test")):
        records = []
        for i, (_, label, number) in enumerate((car for car in _cars() if car[0] == half), start=1):
            image(root / name / (name if nested else "") / f"{i:05}.jpg", label, number)
            box = {f"bbox_{corner}": 1 for corner in ("x1", "y1", "x2", "y2")}
            records.append({**box, "class": label, "fname": f"{i:05}.jpg"})
        file = "cars_test_annos_withlabels.mat" if half else "devkit/cars_train_annos.mat"
        savemat(root / file, {"annotations": _struct(records)})
        if half:  # the devkit's own annotations of the test images have no classes
            unlabelled = [{k: v for k, v in record.items() if k != "class"} for record in records]
            savemat(root / "devkit" / "cars_test_annos.mat", {"annotations": _struct(unlabelled)})
    savemat(root / "devkit" / "cars_meta.mat", {"class_names": _cell(CARS)})
    return _car_counts()


def cars_kaggle(root, annotated=True):
    """``car_data/car_data/{train,test}/<class>/`` with ``names.csv`` and ``anno_*.csv``; "/" became "-"."""
    root = Path(root)
    for half, name in enumerate(("train", "test")):
        rows = []
        for i, (_, label, number) in enumerate((car for car in _cars() if car[0] == half), start=1):
            folder = CARS[label - 1].replace("/", "-")
            image(root / "car_data" / "car_data" / name / folder / f"{i:05}.jpg", label, number)
            rows.append([f"{i:05}.jpg", 1, 1, 9, 9, label])
        if annotated:
            with (root / f"anno_{name}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(rows)
    write(root / "names.csv", CARS)
    return _car_counts()


def cars_images(root, order=None):
    """``images/<class>/``, with the file that gives the order of the classes or without."""
    root = Path(root)
    for half, label, number in _cars():
        folder = CARS[label - 1].replace("/", "-")
        image(root / "images" / folder / f"{half}{number:04}.jpg", label, number)
    if order == "names.csv":
        write(root / order, CARS)
    elif order:
        (root / order).parent.mkdir(parents=True, exist_ok=True)
        savemat(root / order, {"class_names": _cell(CARS)})
    return _car_counts()


def sop(root, train=(3, 2, 4), test=(2, 5)):
    """``root/Stanford_Online_Products/``: ids run on from train to test."""
    folder, number, label = Path(root) / "Stanford_Online_Products", 0, 0
    for half, counts in (("train", train), ("test", test)):
        lines = ["image_id class_id super_class_id path"]
        for count in counts:
            label += 1
            for i in range(count):
                number += 1
                path = f"bicycle_final/{111085122870 + label}_{i}.JPG"
                image(folder / path, label, i)
                lines.append(f"{number} {label} 1 {path}")
        write(folder / f"Ebay_{half}.txt", lines)
    return [*train, *test]


# Article -> status of its images, in the order of the list: not grouped by half.
ARTICLES = {
    "id_00000001": ["train"] * 3,
    "id_00000002": ["query", "gallery", "query"],
    "id_00000003": ["train"] * 2,
    "id_00000007": ["gallery", "gallery", "query"],
    "id_00000008": ["train"] * 2,
}


def inshop(root, original=False):
    """``root/inshop/`` flat, or the folders as published (``Img/img``, ``Eval``)."""
    folder = Path(root) / ("In-shop Clothes Retrieval Benchmark" if original else "inshop")
    lines = []
    for label, (article, statuses) in enumerate(ARTICLES.items()):
        for i, status in enumerate(statuses):
            path = f"img/WOMEN/Blouses_Shirts/{article}/02_{i}_front.jpg"
            image(folder / ("Img" if original else "") / path, label, i)
            lines.append(f"{path:70}{article:15}{status:15}")
    table = folder / ("Eval" if original else "") / "list_eval_partition.txt"
    write(table, [str(len(lines)), f"{'image_name':70}{'item_id':15}evaluation_status", *lines])
    return [len(statuses) for statuses in ARTICLES.values()]


def tiny_imagenet(root, wnids=("n02124075", "n01443537", "n04067472"), train=4, val=2):
    """``root/tiny-imagenet-200/``; the order of ``wnids.txt`` is not the alphabet's."""
    folder = Path(root) / "tiny-imagenet-200"
    write(folder / "wnids.txt", wnids)
    write(folder / "words.txt", [f"{wnid}\tsome, thing" for wnid in wnids])
    lines = []
    for label, wnid in enumerate(wnids):
        names = [f"{wnid}_{i}.JPEG" for i in range(train)]
        write(folder / "train" / wnid / f"{wnid}_boxes.txt", [f"{name}\t0\t10\t63\t58" for name in names])
        for i, name in enumerate(names):
            image(folder / "train" / wnid / "images" / name, label, i, size=(64, 64))
        lines += [(f"val_{label + i * len(wnids)}.JPEG", wnid, label, i) for i in range(val)]
    for name, _, label, i in sorted(lines):
        image(folder / "val" / "images" / name, label, i, size=(64, 64))
    write(
        folder / "val" / "val_annotations.txt", [f"{name}\t{wnid}\t0\t32\t44\t62" for name, wnid, *_ in sorted(lines)]
    )
    image(folder / "test" / "images" / "test_0.JPEG", size=(64, 64))
    return [train + val] * len(wnids)


def pack(archive, folder, *names):
    """``names`` in ``folder`` as .tgz or .zip."""
    archive = Path(archive)
    archive.parent.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
            for name in names:
                files = [folder / name] if (folder / name).is_file() else sorted((folder / name).rglob("*"))
                for path in files:
                    content.write(path, path.relative_to(folder))
    else:
        with tarfile.open(archive, "w:gz") as content:
            for name in names:
                content.add(folder / name, name)
    return archive
