"""A built network as a file for other programs."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, fx

from archprof.building.device import reason
from archprof.errors import UsageError
from archprof.extras import require


def exported_program(module: fx.GraphModule, inputs: tuple[Tensor, ...]) -> bytes:
    """What torch.export.save writes (.pt2). The batch is that of `inputs`. Raises UsageError."""
    stream = io.BytesIO()
    with _quiet("torch.export"):
        torch.export.save(torch.export.export(module, inputs, strict=False), stream)
    return stream.getvalue()


def require_onnx() -> None:
    """Raise UsageError where what writes ONNX files is missing: onnx, onnxscript, torch 2.5 or newer."""
    for package in ("onnx", "onnxscript"):
        require("--onnx", package, "onnx")
    if tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) < (2, 5):  # the first with dynamo=True
        raise UsageError(f"--onnx needs torch 2.5 or newer, and this is {torch.__version__}")


def onnx_model(module: fx.GraphModule, inputs: tuple[Tensor, ...], outputs: Sequence[str]) -> bytes:
    """An ONNX file whose outputs have these names, checked with ONNX's own checker. The batch is that of `inputs`.

    Raises UsageError for all that `require_onnx` does, and where the network cannot be written.
    """
    require_onnx()
    import onnx

    with _quiet("torch.onnx"):
        program = torch.onnx.export(module, inputs, dynamo=True, verbose=False, output_names=list(outputs))
        assert program is not None
        content: bytes = program.model_proto.SerializeToString()
        onnx.checker.check_model(content)
    return content


@contextlib.contextmanager
def _quiet(what: str) -> Iterator[None]:
    """Without what torch and its friends print about themselves; what they raise becomes UsageError."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UsageError:
        raise
    except Exception as error:  # each has many kinds of errors of its own
        first: BaseException = error
        while first.__cause__ is not None:
            first = first.__cause__
        raise UsageError(f"{what} cannot write this network: {reason(first)}") from None
    finally:
        logger.setLevel(level)
