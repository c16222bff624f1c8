"""The torch side of operators that torch has no module of its own for. Imports torch; imported lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from archprof.operators.convolution import _Convolution


def convolution(dimensions: int, in_channels: int, fields: _Convolution) -> nn.Module:
    """torch's own convolution, with asymmetric padding (which torch lacks) put before it."""
    cls = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    ...
