"""Images: where they come from, how they are normalised and augmented, and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from torch import Tensor
from torch.nn import functional

from archprof.errors import UsageError
from archprof.experiments import data
from archprof.experiments.data import Images, Loader, augmented, channel_statistics, load_images
from archprof.experiments.recipes import Augmentation
from tests.experiments.small import images as small_images


def picture(seed: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> Image.Image:
    """Noise of a height and a width."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def write_parquet(
    path: Path, pictures: Sequence[Image.Image], labels: Sequence[Any], column: str = "label", *, typed: bool = True
) -> None:
    """As the Hugging Face hub lays image data out; without its types, where they are left away."""
    features = {"image": {"_type": "Image"}, column: {"_type": "Value", "dtype": "int64"}}
    about = {"huggingface": json.dumps({"info": {"features": features}})} if typed else {}
    rows = {"image": [{"bytes": encoded(each), "path": None} for each in pictures], column: labels}
    parquet.write_table(pyarrow.table(rows).replace_schema_metadata(about), path)


def write_folder(folder: Path, sizes: dict[str, tuple[int, int]], mode: str = "RGB", count: int = 6) -> None:
    """A folder of images a class."""
    for name, size in sizes.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture(number, size, mode).save(folder / name / f"{number}.png")


# --- where they come from


def test_digits_are_split_the_same_way_always_and_by_class() -> None:
    digits = load_images("digits")
    assert digits.shape == (1, 8, 8)
    assert (len(digits.train_labels), len(digits.test_labels), digits.classes) == (1347, 450, 10)
    assert digits.train_images.max() == 16
    shares = [np.bincount(labels) / len(labels) for labels in (digits.train_labels, digits.test_labels)]
    assert np.abs(shares[0] - shares[1]).max() < 0.002
    assert digits.fingerprint() == "21d4b83f95e783d7"


def test_a_fingerprint_tells_one_pixel_and_one_label() -> None:
    first, second, third = small_images(), small_images(), small_images()
    second.train_images[0, 0, 0, 0] ^= 1
    third.test_labels[0] += 1
    assert len({each.fingerprint() for each in (first, second, third)}) == 3
    assert first.fingerprint() == small_images().fingerprint()


@pytest.mark.parametrize("typed", [True, False])
def test_a_folder_of_parquet_files_has_its_splits(tmp_path: Path, typed: bool) -> None:
    pictures = [picture(seed) for seed in range(6)]
    write_parquet(tmp_path / "train.parquet", pictures[:4], [3, 7, 7, 3], typed=typed)
    write_parquet(tmp_path / "test.parquet", pictures[4:], [7, 3], typed=typed)
    found = load_images(str(tmp_path))
    assert (found.shape, found.classes, found.note) == ((3, 6, 5), 2, "")
    assert found.train_labels.tolist() == [0, 1, 1, 0]
    assert found.test_labels.tolist() == [1, 0]
    for number, each in enumerate(pictures[:4]):
        assert np.array_equal(found.train_images[number].transpose(1, 2, 0), np.asarray(each))


def test_one_parquet_file_keeps_images_of_every_class_for_the_test(tmp_path: Path) -> None:
    path = tmp_path / "all.parquet"
    write_parquet(path, [picture(seed) for seed in range(20)], [seed % 2 for seed in range(20)])
    found = load_images(str(path))
    assert found.note == "no test split: every 5th image of a class is kept for the test"
    assert (np.bincount(found.train_labels).tolist(), np.bincount(found.test_labels).tolist()) == ([8, 8], [2, 2])


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1), ("P", 3), ("RGBA", 3)])
def test_a_folder_of_images_has_a_class_a_folder(tmp_path: Path, mode: str, channels: int) -> None:
    write_folder(tmp_path / "train", {"cat": (6, 5), "dog": (6, 5)}, mode)
    write_folder(tmp_path / "test", {"cat": (6, 5), "dog": (6, 5)}, mode, count=2)
    found = load_images(str(tmp_path))
    assert (found.shape, found.classes) == ((channels, 6, 5), 2)
    assert (len(found.train_labels), len(found.test_labels)) == (12, 4)


@pytest.mark.parametrize(
    ("name", "asked", "column"),
    [("cifar10", "uoft-cs/cifar10", "label"), ("someone/else", "someone/else", "fine_label")],
)
def test_a_dataset_of_the_hub(monkeypatch: pytest.MonkeyPatch, name: str, asked: str, column: str) -> None:
    import datasets

    seen = []

    def hub(wanted: str) -> Any:
        seen.append(wanted)
        features = datasets.Features({"img": datasets.Image(), column: datasets.ClassLabel(names=["a", "b"])})
        rows = {"img": [picture(seed) for seed in range(4)], column: [0, 1, 1, 0]}
        split = datasets.Dataset.from_dict(rows, features=features)
        return datasets.DatasetDict({"train": split, "validation": split})

    monkeypatch.setattr(datasets, "load_dataset", hub)
    found = load_images(name)
    assert seen == [asked]
    assert (found.shape, found.train_labels.tolist(), len(found.test_labels)) == ((3, 6, 5), [0, 1, 1, 0], 4)


# --- what is refused


def one_class(folder: Path) -> None:
    write_folder(folder / "train", {"cat": (6, 5)})


def two_sizes(folder: Path) -> None:
    write_folder(folder / "train", {"cat": (6, 5), "dog": (6, 7)}, count=3)
    write_folder(folder / "train" / "more", {}, count=0)


def sizes_by_split(folder: Path) -> None:
    write_folder(folder / "train", {"cat": (6, 5), "dog": (6, 5)})
    write_folder(folder / "test", {"cat": (8, 5), "dog": (8, 5)})


def strange_class(folder: Path) -> None:
    write_parquet(folder / "train.parquet", [picture(0), picture(1)], [0, 1])
    write_parquet(folder / "test.parquet", [picture(2)], [2])


def no_labels(folder: Path) -> None:
    write_parquet(folder / "train.parquet", [picture(0)], [0], column="kind")


def missing_label(folder: Path) -> None:
    write_parquet(folder / "train.parquet", [picture(0), picture(1)], [0, None])


def no_images(folder: Path) -> None:
    parquet.write_table(pyarrow.table({"text": ["a"], "label": [0]}), folder / "train.parquet")


def too_few(folder: Path) -> None:
    write_folder(folder / "train", {"cat": (6, 5), "dog": (6, 5)}, count=3)


def no_training(folder: Path) -> None:
    write_folder(folder / "test", {"cat": (6, 5), "dog": (6, 5)}, count=3)


def broken(folder: Path) -> None:
    (folder / "train.parquet").write_bytes(b"")


def nothing(folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (one_class, "all images are of one class; there is nothing to tell apart"),
        (two_sizes, "images have several sizes: 5x6 (3), 7x6 (3); make them one size"),
        (sizes_by_split, "images to train on and to test have several shapes, 3x6x5 and 3x8x5"),
        (strange_class, "class 2 is in the test images alone"),
        (no_labels, "no column is called label, labels, fine_label, class or target; there is image, kind"),
        (missing_label, "image 1 has no label"),
        (no_images, "no column holds images; there is text, label"),
        (too_few, "no test split, and no class has 5 images of which one could be kept for it"),
        (no_training, "no split is called train; there is test"),
        (broken, "Parquet file size is 0 bytes"),
        (nothing, "The directory at FOLDER doesn't contain any data files"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path)
    with pytest.raises(UsageError) as refusal:
        load_images(str(tmp_path))
    assert str(refusal.value) == f"--data {tmp_path}: {message.replace('FOLDER', str(tmp_path))}"


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "nowhere.parquet"])
def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub(name: str) -> None:
    with pytest.raises(UsageError) as refusal:
        load_images(name)
    assert str(refusal.value) == f"--data {name}: no such file or folder"


def test_a_name_that_the_hub_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def hub(wanted: str) -> Any:
        raise ConnectionError(f"Couldn't reach {wanted!r} on the Hub\nmore lines")

    monkeypatch.setattr(datasets, "load_dataset", hub)
    with pytest.raises(UsageError) as refusal:
        load_images("cifar11")
    assert str(refusal.value) == (
        "--data cifar11: no such file or folder, and as a dataset of the hub: Couldn't reach 'cifar11' on the Hub"
    )


def test_images_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    too_few(tmp_path)
    monkeypatch.setattr("archprof.building.device.available_memory", lambda device: 100)
    with pytest.raises(UsageError, match=r"^the images of .* need 0\.0 MiB, and cpu has 0\.0 MiB left$"):
        load_images(str(tmp_path))


# --- normalised and augmented


def test_channel_statistics_are_numpys() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 5), dtype=np.uint8)
    pixels[:, 2] = 9
    means, deviations = channel_statistics(pixels)
    assert means == pytest.approx(pixels.mean(axis=(0, 2, 3)))
    assert deviations == pytest.approx([*pixels[:, :2].std(axis=(0, 2, 3)), 1.0])


def test_training_images_are_normalised_by_channel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3, 8, 8), dtype=np.uint8)
    pixels[:, 1] //= 4
    labels = np.arange(50) % 2
    loader = Loader(Images("made", pixels, labels, pixels[:9], labels[:9], 2), torch.device("cpu"))
    out = loader.normalised(loader.train_images)
    assert out.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert out.std(dim=(0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last)


def one_by_one(images: Tensor, augmentation: Augmentation, seed: int) -> Tensor:
    """What `augmented` does, an image at a time, by padding, slicing and flipping."""
    generator = torch.Generator().manual_seed(seed)
    count, _, height, width = images.shape
    pad = augmentation.pad
    top, left = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    out = []
    for number, image in enumerate(functional.pad(images, (pad,) * 4)):
        crop = image[:, top[number] : top[number] + height, left[number] : left[number] + width]
        out.append(crop.flip(2) if augmentation.flip and mirrored[number] else crop)
    return torch.stack(out)


@pytest.mark.parametrize("augmentation", [Augmentation(4, True), Augmentation(2, False), Augmentation(0, True)])
def test_augmentation_is_a_crop_and_a_flip_of_each_image(augmentation: Augmentation) -> None:
    images = torch.randn(32, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    out = augmented(images, augmentation, torch.Generator().manual_seed(7))
    assert torch.equal(out, one_by_one(images, augmentation, 7))
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(out, images)
    again = augmented(images, augmentation, torch.Generator().manual_seed(8))
    assert not torch.equal(out, again)


def test_augmentation_leaves_torchs_random_state_alone() -> None:
    before = torch.get_rng_state()
    augmented(torch.zeros(4, 1, 4, 4), Augmentation(1, True), torch.Generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_path_is_kept_as_an_absolute_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert [data.data_name(name) for name in ("there", "digits", "cifar10")] == [
        str(tmp_path / "there"),
        "digits",
        "cifar10",
    ]
