"""Images to train on: scikit-learn's digits, or what the `datasets` library reads; normalised and augmented."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from archprof.building.device import require_memory
from archprof.errors import UsageError
from archprof.experiments.recipes import Augmentation
from archprof.extras import require

DIGITS = "digits"
_HUB = {"cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100", "mnist": "ylecun/mnist"}
_LABELS = ("label", "labels", "fine_label", "class", "target")
_TEST_SPLITS = ("test", "validation", "valid", "val")
_HELD_BACK = 5  # every fifth image of a class is kept for the test where the data have no test split


class Images(msgspec.Struct, frozen=True, eq=False):
    """Images and their classes, in a training and a test set."""

    name: str
    train_images: NDArray[np.uint8]  # N, C, H, W
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: int
    note: str = ""  # how the two were told apart, where the data do not say

    @property
    def shape(self) -> tuple[int, ...]:
        """C, H, W."""
        return self.train_images.shape[1:]

    def fingerprint(self) -> str:
        """A hash of all pixels and labels."""
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]


def load_images(name: str) -> Images:
    """The data of a name: digits, a Hugging Face dataset, a folder of images or of parquet files, a parquet file.

    Images are held in memory as bytes. Raises UsageError for what cannot be read, for one class, and for images of
    several sizes.
    """
    images = _digits() if name == DIGITS else _from_datasets(name)
    if images.classes < 2:
        raise UsageError(f"--data {name}: all images are of one class; there is nothing to tell apart")
    return images


def _digits() -> Images:
    """1,797 scans of handwritten digits, 8x8 with 17 grey levels: 1,347 to train on and 450 to test."""
    require("--data digits", "sklearn", "depth")
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 1, 8, 8).astype(np.uint8)
    parts = train_test_split(images, labels.astype(np.int64), test_size=450, stratify=labels, random_state=0)
    return Images(DIGITS, parts[0], parts[2], parts[1], parts[3], 10)


def _from_datasets(name: str) -> Images:
    require(f"--data {name}", "datasets", "depth")
    splits = _splits(name)
    train = _read_split(name, splits["train"])
    if "test" in splits:
        test, note = _read_split(name, splits["test"]), ""
    else:
        train, test = _held_back(name, *train)
        note = f"no test split: every {_HELD_BACK}th image of a class is kept for the test"
    if test[0].shape[1:] != train[0].shape[1:]:
        shapes = " and ".join(_size(part[0].shape[1:]) for part in (train, test))
        raise UsageError(f"--data {name}: images to train on and to test have several shapes, {shapes}")
    known = {label: index for index, label in enumerate(sorted(set(train[1])))}
    strange = sorted(set(test[1]) - set(known))
    if strange:
        raise UsageError(f"--data {name}: class {strange[0]} is in the test images alone")
    labels = [np.array([known[label] for label in part[1]], dtype=np.int64) for part in (train, test)]
    return Images(name, train[0], labels[0], test[0], labels[1], len(known), note)


def _splits(name: str) -> dict[str, Any]:
    """The training split, and the test split where there is one. Raises UsageError."""
    import datasets

    datasets.disable_progress_bars()
    for noisy in ("datasets", "huggingface_hub"):  # what is wrong is in the exception
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    path = Path(name)
    if not path.exists() and (name.startswith((".", "/", "~")) or path.suffix):
        raise UsageError(f"--data {name}: no such file or folder")
    missing = "" if path.exists() else "no such file or folder, and as a dataset of the hub: "
    try:
        with tempfile.TemporaryDirectory() as cache:
            local = {"cache_dir": cache, "keep_in_memory": True}
            if path.is_file():
                found = datasets.load_dataset("parquet", data_files={"train": name}, **local)
            elif path.is_dir() and next(path.rglob("*.parquet"), None) is not None:
                found = datasets.load_dataset("parquet", data_dir=name, **local)
            elif path.is_dir():
                found = datasets.load_dataset("imagefolder", data_dir=name, drop_labels=False, **local)
            else:
                found = datasets.load_dataset(_HUB.get(name, name))
    except Exception as error:  # datasets raises what its readers, its hub client and arrow raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UsageError(f"--data {name}: {missing}{lines[0] if lines else type(error).__name__}") from None
    if "train" not in found:
        raise UsageError(f"--data {name}: no split is called train; there is {', '.join(map(str, found))}")
    test = next((split for split in _TEST_SPLITS if split in found), None)
    return {"train": found["train"], **({} if test is None else {"test": found[test]})}


def _read_split(name: str, split: Any) -> tuple[NDArray[np.uint8], list[Any]]:
    """The images (N, C, H, W) and labels of a split."""
    import datasets

    pictures = [
        column
        for column, feature in split.features.items()
        # a file that does not say which column holds images has them as the struct that they are stored as
        if isinstance(feature, datasets.Image) or (isinstance(feature, dict) and set(feature) == {"bytes", "path"})
    ]
    if not pictures:
        raise UsageError(f"--data {name}: no column holds images; there is {', '.join(split.features)}")
    label = next((column for column in _LABELS if column in split.features), None)
    if label is None:
        raise UsageError(
            f"--data {name}: no column is called {', '.join(_LABELS[:-1])} or {_LABELS[-1]}; there is "
            f"{', '.join(split.features)}"
        )
    labels = list(split[label])
    if not labels:
        raise UsageError(f"--data {name}: there are no images")
    if None in labels:
        raise UsageError(f"--data {name}: image {labels.index(None)} has no {label}")
    rows = split.select_columns(pictures[:1]).cast_column(pictures[0], datasets.Image())
    return _stacked(name, (row[pictures[0]] for row in rows), len(split)), labels


def _stacked(name: str, pictures: Iterator[Any], count: int) -> NDArray[np.uint8]:
    """Pictures as one array; grey ones have one channel if all are grey."""
    sizes: Counter[tuple[int, int]] = Counter()
    stacked: NDArray[np.uint8] | None = None
    grey = True
    for index, picture in enumerate(pictures):
        if stacked is None:
            require_memory(count * 3 * picture.height * picture.width, torch.device("cpu"), f"the images of {name}")
            stacked = np.empty((count, 3, picture.height, picture.width), dtype=np.uint8)
        sizes[picture.height, picture.width] += 1
        if len(sizes) == 1:
            grey = grey and picture.mode in ("1", "L")
            stacked[index] = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    assert stacked is not None
    if len(sizes) > 1:
        common = ", ".join(f"{width}x{height} ({seen:,})" for (height, width), seen in sizes.most_common(3))
        more = ", ..." if len(sizes) > 3 else ""
        raise UsageError(f"--data {name}: images have several sizes: {common}{more}; make them one size")
    return np.ascontiguousarray(stacked[:, :1]) if grey else stacked


def _held_back(
    name: str, images: NDArray[np.uint8], labels: Sequence[Any]
) -> tuple[tuple[NDArray[np.uint8], list[Any]], tuple[NDArray[np.uint8], list[Any]]]:
    """Every fifth image of a class apart from the others."""
    seen: Counter[Any] = Counter()
    kept: list[list[int]] = [[], []]
    for index, label in enumerate(labels):
        seen[label] += 1
        kept[seen[label] % _HELD_BACK == 0].append(index)
    train, test = kept
    if not test:
        raise UsageError(
            f"--data {name}: no test split, and no class has {_HELD_BACK} images of which one could be kept for it"
        )
    return (images[train], [labels[i] for i in train]), (images[test], [labels[i] for i in test])


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


class Loader:
    """Batches of images on a device: normalised by the training set's channels, augmented where asked for."""

    def __init__(self, images: Images, device: torch.device) -> None:
        self.train_images = torch.tensor(images.train_images).to(device)
        self.train_labels = torch.tensor(images.train_labels).to(device)
        self.test_images = torch.tensor(images.test_images).to(device)
        self.test_labels = torch.tensor(images.test_labels).to(device)
        mean, deviation = channel_statistics(images.train_images)
        self.mean = torch.tensor(mean, dtype=torch.float32, device=device).view(-1, 1, 1)
        self.scale = 1 / torch.tensor(deviation, dtype=torch.float32, device=device).view(-1, 1, 1)

    def normalised(self, images: Tensor) -> Tensor:
        """Bytes (B, C, H, W) as numbers of mean 0 and standard deviation 1 a channel, channels last in memory."""
        return ((images - self.mean) * self.scale).contiguous(memory_format=torch.channels_last)


def channel_statistics(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of (N, C, H, W); a constant channel has deviation 1."""
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = np.bincount(images[:, channel].reshape(-1), minlength=256).astype(np.float64)
        levels = np.arange(256)
        mean = float(counts @ levels / counts.sum())
        variance = float(counts @ (levels - mean) ** 2 / counts.sum())
        means.append(mean)
        deviations.append(variance**0.5 if variance > 0 else 1.0)
    return means, deviations


def augmented(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Images (B, C, H, W) cropped from a zero border and flipped, each by its own draw; channels last in memory.

    The draws are made on the CPU, so that a seed gives the same on every device.
    """
    count, _, height, width = images.shape
    pad, device = augmentation.pad, images.device
    offsets = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    rows, columns = torch.arange(height), torch.arange(width)
    if augmentation.flip:
        columns = torch.where(mirrored, width - 1 - columns, columns)
    rows, columns = (rows + offsets[0]).to(device), (columns + offsets[1]).to(device)
    around = functional.pad(images, (pad, pad, pad, pad))
    which = torch.arange(count, device=device)[:, None, None]
    return around[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def data_name(name: str) -> str:
    """How a configuration names data: a path that exists is made absolute."""
    return os.path.abspath(name) if name != DIGITS and Path(name).exists() else name
