"""Turn the published figures beside this file into results files, which archprof ships.

    python benchmarks/published/make.py

Sources, looked at for what their networks are: github.com/soumith/convnet-benchmarks (torch7/imagenet_winners, README),
github.com/jcjohnson/cnn-benchmarks (README, cnn_benchmark.lua) with github.com/facebookarchive/fb.resnet.torch and
github.com/soumith/inception.torch, and the results folder of github.com/huggingface/pytorch-image-models (Apache 2.0).
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from archprof.analysis import analyse
from archprof.profiling.published import FOLDER
from archprof.profiling.records import FORMAT, Cell, Key, Run
from archprof.profiling.results import write_run
from archprof.spec import expand, find_spec

HERE = Path(__file__).resolve().parent


class Network(NamedTuple):
    """A published network: the variant of archprof's that it is, or is like, and then what differs."""

    name: str
    differs: str = ""
    multiply_adds: int | None = None  # of one that differs


_TORCH_GOOGLENET = "without local response normalisation, ReLU after the classifier"
_INCEPTION_5H = (
    "soumith/inception.torch: 4a has 204 channels in its 3x3 branch, not 208, 5a reduces to 48 before the 5x5, not 32; "
    "1008 outputs, no local response normalisation"
)
SOUMITH = {
    "alexnet (one weird trick)": Network("alexnet-single-tower"),
    "overfeat-fast": Network("overfeat-fast"),
    "vgg-a": Network("vgg-a"),
    "googlenet": Network("googlenet", _TORCH_GOOGLENET),
}
JCJOHNSON = {
    # conv1 gives 54x54: 96 * 54 * 54 * 3 * 11 * 11 multiply-adds for 96 * 55 * 55 * 3 * 11 * 11; its pools round up
    "AlexNet": Network(
        "alexnet",
        "Caffe's release at 224x224: conv1 gives 54x54, not 55x55",
        724406816 - 96 * 3 * 11 * 11 * (55 * 55 - 54 * 54),
    ),
    "Inception-V1": Network("googlenet", _INCEPTION_5H),
    "VGG-16": Network("vgg-d"),
    "VGG-19": Network("vgg-e"),
    # fb.resnet.torch has the stride on the 3x3
    "ResNet-18": Network("resnet-18"),
    "ResNet-34": Network("resnet-34"),
    "ResNet-50": Network("resnet-50-v1.5"),
    "ResNet-101": Network("resnet-101-v1.5"),
    "ResNet-152": Network("resnet-152-v1.5"),
    "ResNet-200": Network("preact-resnet", "200 layers for ImageNet; archprof's are for CIFAR"),
}
TIMM = {
    "convnext-t": "convnext-t",
    "densenet-121": "densenet-121",
    "efficientnet-b0": "efficientnet-b0",
    "mobilenet-v2": "mobilenet-v2-1.0",
    "resnet-18": "resnet-18",
    "resnet-34": "resnet-34",
    "resnet-50": "resnet-50-v1.5",
    "resnet-101": "resnet-101-v1.5",
    "resnet-152": "resnet-152-v1.5",
    "vgg-11": "vgg-a",
    "vgg-13": "vgg-b",
    "vgg-16": "vgg-d",
    "vgg-19": "vgg-e",
    "vit-b-16": "vit-b-16",
}
HARDWARE = {
    "NVIDIA Titan X (Maxwell)": "Titan X (Maxwell)",
    "Maxwell Titan X": "Titan X (Maxwell)",
    "Pascal Titan X": "Titan X (Pascal)",
    "CPU: Dual Xeon E5-2630 v3": "2 x Xeon E5-2630 v3",
    "CPU: Core i9-10940X": "Core i9-10940X",
    "CPU: Core i7-12700H": "Core i7-12700H",
}
# how a library of 2015 lays a batch out, where it is not N, C, H, W
LAYOUTS = {"Nervana-neon-fp16": "chwn", "Nervana-neon-fp32": "chwn", "cudaconvnet2": "chwn"}


class Figure(NamedTuple):
    """One published cell, and the run that it belongs to."""

    source: str
    hardware: str
    software: str
    cell: Cell


@functools.cache
def counts(variant: str, counting: str = "multiply_adds") -> tuple[int, int]:
    """FLOPs and parameters of a variant."""
    analysis = analyse(expand(*find_spec(variant)), counting=counting)
    return analysis.flops, analysis.params


def seconds(milliseconds: str) -> float:
    """As printed, without an error of the division in the last digit."""
    return round(float(milliseconds) / 1000, 9)


def _key(network: Network, row: dict[str, str], **more: Any) -> Key:
    return Key(
        network=f"{row['network']} of {row['source']}" if network.differs else network.name,
        batch=int(float(row["batch"])),
        input=f"3x{row['input_size']}x{row['input_size']}",
        multiply_adds=network.multiply_adds if network.differs else counts(network.name)[0],
        **more,
    )


def _settings(network: Network, **more: str) -> dict[str, Any]:
    return {"like": network.name, "differs": network.differs, **more} if network.differs else more


def classic() -> Iterator[Figure]:
    """The figures of 2015 to 2017: forward and backward of a training pass."""
    for row in _rows("gpu_benchmarks.csv"):
        soumith = row["source"].startswith("soumith")
        network = (SOUMITH if soumith else JCJOHNSON)[row["network"]]
        layout = LAYOUTS.get(row["software"], "nchw")
        forward, backward = seconds(row["forward_ms"]), seconds(row["backward_ms"])
        total = {"forward": forward, "backward": backward, "forward+backward": seconds(row["total_ms"])}
        passes: list[tuple[str, dict[str, float]]] = [("forward+backward", total)]
        if soumith:  # its nets have nothing that training does otherwise; jcjohnson's forward is in training mode
            passes.insert(0, ("forward", {"forward": forward}))
        for pass_, figures in passes:
            key = _key(network, row, dtype=row["dtype"], layout=layout, pass_=pass_)
            params = None if network.differs else counts(network.name)[1]
            cell = Cell(key, "ok", figures=figures, params=params, settings=_settings(network))
            hardware = HARDWARE.get(row["device"], row["device"])
            yield Figure(row["source"], hardware, row["software"].removesuffix(" (Torch)"), cell)


def timm() -> Iterator[Figure]:
    """Today's figures; the variant is the one whose count in fvcore's convention is the printed gmacs."""
    for row in _rows("gpu_benchmarks_timm.csv"):
        variant = TIMM[row["network"]]
        found, gmacs = counts(variant, "fvcore")[0], row["gmacs"]
        if round(found / 1e9, 2) != float(gmacs):
            raise SystemExit(f"{variant} has {found:,} in fvcore's convention, not {gmacs} G")
        dtype, _, autocast = row["dtype"].partition(" ")
        pass_ = {"forward": "forward", "forward+backward+step": "step"}[row["pass"]]
        key = _key(
            Network(variant),
            row,
            dtype="float32" if autocast else dtype,
            amp=dtype if autocast else None,
            layout=row["layout"],
            mode=row["mode"],
            pass_=pass_,
        )
        cell = Cell(
            key,
            "ok",
            figures={pass_: seconds(row["step_ms"])},
            images_per_second=float(row["images_per_second"]),
            params=counts(variant)[1],
            settings={"file": row["source"]},
        )
        hardware = HARDWARE.get(row["device"], row["device"])
        yield Figure("huggingface/pytorch-image-models", hardware, row["software"], cell)


def _rows(name: str) -> Iterable[dict[str, str]]:
    with (HERE / name).open(newline="", encoding="utf-8") as stream:
        yield from csv.DictReader(stream)


def runs() -> dict[str, Run]:
    """File name -> Run, one a source, device and software."""
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for figure in (*classic(), *timm()):
        groups.setdefault((figure.source, figure.hardware, figure.software), []).append(figure.cell)
    found = {}
    for (source, hardware, software), cells in groups.items():
        machine = f"{_slug(hardware)}_{_slug(software)}"
        found[f"{_slug(source.rpartition('/')[2])}_{machine}.json"] = Run(
            version=FORMAT,
            created="",
            archprof="",
            command="python benchmarks/published/make.py",
            machine=machine,
            hardware=hardware,
            environment={"software": software},
            cells=tuple(cells),
            published=f"https://github.com/{source}",
        )
    return found


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def main() -> None:
    made = runs()
    for path in FOLDER.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, run in made.items():
        write_run(run, FOLDER / name)
    print(f"{len(made)} runs, {sum(len(run.cells) for run in made.values())} cells in {FOLDER}")


if __name__ == "__main__":
    main()
