"""Measuring networks: whole and per layer, on a CPU or a GPU, with the statistics that make figures comparable.

Importing the package imports no torch; measuring does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archprof.extras import require
from archprof.profiling.sampling import BUDGET, PRECISION

if TYPE_CHECKING:
    from torch import Tensor, fx

    from archprof.graph import Graph
    from archprof.profiling.runner import Profile

__all__ = ["profile"]


def profile(
    graph: Graph,
    *,
    module: fx.GraphModule | None = None,
    inputs: tuple[Tensor, ...] | None = None,
    batch: int = 1,
    device: str = "cpu",
    dtype: str = "float32",
    amp: str | None = None,
    layout: str = "nchw",
    mode: str = "eager",
    pass_: str = "forward+backward",
    train: bool = False,
    threads: int | None = None,
    tf32: bool | None = None,
    cudnn_benchmark: bool | None = None,
    precision: float = PRECISION,
    budget: float = BUDGET,
    seed: int = 0,
) -> Profile:
    """Measure a network's passes, and each layer's share in them.

    In each round two plain passes and an instrumented one run in shuffled order: the first plain one gives the whole
    times, the second the control, the instrumented one the layers'. `collect_together` says when it stops.

    `pass_` is forward, forward+backward or step; `train` takes the training graph, which has heads of its own; `amp`
    is autocast's dtype; `layout` nchw or nhwc; `mode` eager, or compile, which leaves no layers to time; `threads`,
    `tf32` and `cudnn_benchmark` are settings of the device (`open_device`). `module` is what `build` makes of the graph
    unless one is given, with the graph's paths in the meta["path"] of its nodes; then `inputs` is its batch, and its
    mode and buffers are left as the passes made them. Random numbers are drawn from `seed`, and torch's own random
    state is left as it was.

    Raises UsageError for what is not known, does not fit the memory, or cannot run.
    """
    require("profile", "torch", "torch")
    from archprof.profiling.runner import measure

    return measure(
        graph,
        module=module,
        inputs=inputs,
        batch=batch,
        device=device,
        dtype=dtype,
        amp=amp,
        layout=layout,
        mode=mode,
        pass_=pass_,
        train=train,
        threads=threads,
        tf32=tf32,
        cudnn_benchmark=cudnn_benchmark,
        precision=precision,
        budget=budget,
        seed=seed,
    )
