"""What archprof and its peers print for the parameters and the FLOPs of the ZF network, in one run.

python benchmarks/peers.py
"""

from __future__ import annotations

import contextlib
import io
import warnings

import torch
from zf_torch import zf

import archprof

SIZE = (1, 3, 220, 220)


def torchinfo() -> tuple[int, int]:
    from torchinfo import summary

    found = summary(zf(), SIZE, verbose=0)
    return found.total_params, found.total_mult_adds


def fvcore() -> tuple[int, int]:
    from fvcore.nn import FlopCountAnalysis, parameter_count

    net = zf().eval()
    count = FlopCountAnalysis(net, torch.zeros(SIZE))
    count.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return parameter_count(net)[""], int(count.total())


def ptflops(backend: str) -> tuple[int, int]:
    from ptflops import get_model_complexity_info

    flops, params = get_model_complexity_info(
        zf(), SIZE[1:], as_strings=False, print_per_layer_stat=False, backend=backend
    )
    return params, int(flops)


def thop() -> tuple[int, int]:
    from thop import profile

    flops, params = profile(zf(), (torch.zeros(SIZE),), verbose=False)
    return int(params), int(flops)


def flop_counter_mode() -> tuple[int, int]:
    from torch.utils.flop_counter import FlopCounterMode

    net = zf().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(SIZE))
    return sum(parameter.numel() for parameter in net.parameters()), counter.get_total_flops()


def main() -> None:
    warnings.simplefilter("ignore")
    graph = archprof.load("zf")
    for counting in ("multiply_adds", "multiply_adds_with_bias", "operations", "fvcore"):
        total = archprof.analyse(graph, counting=counting).total
        print(f"{'archprof, ' + counting:36}{total.params:14,}{total.flops:16,}")
    peers = {
        "torchinfo": torchinfo,
        "fvcore": fvcore,
        "ptflops, pytorch backend": lambda: ptflops("pytorch"),
        "ptflops, aten backend": lambda: ptflops("aten"),
        "thop": thop,
        "FlopCounterMode": flop_counter_mode,
    }
    for name, measure in peers.items():
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            params, flops = measure()
        print(f"{name:36}{params:14,}{flops:16,}")


if __name__ == "__main__":
    main()
