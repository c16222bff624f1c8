"""How a device was set while it was measured, in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def conditions(environment: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """2 threads, torch 2.13.0; on CUDA TF32 and cuDNN's choice too; what a record does not say is left out."""
    found = []
    if "threads" in settings:
        found.append("1 thread" if settings["threads"] == 1 else f"{settings['threads']} threads")
    if "torch" in environment:
        found.append(f"torch {environment['torch']}")
    if "tf32_matmul" in settings:
        products, convolutions = (_on(settings.get(name)) for name in ("tf32_matmul", "tf32_convolutions"))
        found.append(
            f"TF32 {products}" if products == convolutions else f"TF32 {products}, in convolutions {convolutions}"
        )
        found.append(f"cudnn.benchmark {_on(settings.get('cudnn_benchmark'))}")
    if settings.get("flush_l2"):
        found.append("L2 cache emptied before each sample")
    if "precision" in settings and "budget" in settings:
        found.append(f"precision {settings['precision']:.2g}, budget {settings['budget']:g} s")
    return ", ".join(found)


def _on(setting: object) -> str:
    return "on" if setting else "off"
