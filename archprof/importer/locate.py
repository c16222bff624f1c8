"""A torch module as a command line names it, `package.module:callable`, and example inputs for it."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from archprof.errors import UsageError
from archprof.extras import require
from archprof.graph import Graph
from archprof.operators import hint, nearest

if TYPE_CHECKING:
    from torch import Tensor, nn

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_REFERENCE = re.compile(rf"{_NAME}:{_NAME}")
_SHAPE = re.compile(r"(?:(?:[1-9][0-9]{0,9}|N)(?:x(?:[1-9][0-9]{0,9}|N))*)?")
DTYPES = (
    *("float32", "float64", "float16", "bfloat16"),
    *("int64", "int32", "int16", "int8", "uint8", "bool", "complex64"),
)


def is_reference(text: str) -> bool:
    """Whether a text is spelt as `package.module:callable`, and not as a file of a git revision."""
    return _REFERENCE.fullmatch(text) is not None and not text.endswith((".yaml", ".yml"))


def is_importable(place: str) -> bool:
    """Whether this folder or an installed package has a module of a name."""
    import importlib.util

    _see_this_folder()
    return importlib.util.find_spec(place.partition(".")[0]) is not None


def _see_this_folder() -> None:
    if "" not in sys.path:
        sys.path.insert(0, "")
    importlib.invalidate_caches()


def import_reference(
    reference: str, inputs: Sequence[str], settings: Mapping[str, Any], *, train: bool = False
) -> Graph:
    """The Graph of the module that a reference names.

    `inputs` are shapes as `example_inputs` takes them, `settings` keyword arguments for the callable. What the
    module's code prints goes to standard error.

    Raises UsageError where torch is missing, the module cannot be imported, made or traced.
    """
    require(reference, "torch", "torch")
    from archprof.importer.modules import import_module

    with _apart():
        module = find_module(reference, settings)
        args, kwargs, batch_dims = example_inputs(module, reference, inputs)
        try:
            name = re.split("[.:]", reference)[-1]
            graph = import_module(module, args, kwargs, batch_dims=batch_dims, train=train, name=name)
        except UsageError as error:
            raise UsageError(f"{reference}: {error}") from None
    return msgspec.structs.replace(graph, source=f"torch module {reference}", parameters=settings)


def import_file(file: str, inputs: Sequence[str], settings: Mapping[str, Any]) -> Graph:
    """The Graph of an ONNX file; `inputs` are shapes without the batch, `NAME=SHAPE`, for those that it leaves open.

    Raises UsageError where torch or onnx is missing, and for a file that cannot be imported.
    """
    for package, extra in (("torch", "torch"), ("onnx", "onnx")):
        require(file, package, extra)
    if settings:
        raise UsageError(f"{file}: an ONNX file has no parameters that --set could give")
    shapes = {}
    for text in inputs:
        name, _, shape = text.rpartition("=")
        if not shape or not _SHAPE.fullmatch(shape) or "N" in shape:
            raise UsageError(f"--input {text}: write the dimensions as 3x224x224, without the batch")
        if name in shapes:
            raise UsageError(f"--input {name or shape} is given twice")
        shapes[name] = tuple(map(int, shape.split("x")))
    from archprof.importer.onnx import import_onnx

    return msgspec.structs.replace(import_onnx(file, shapes), source=f"ONNX file {file}")


def find_module(reference: str, settings: Mapping[str, Any]) -> nn.Module:
    """The module itself, or what its class or factory makes of the settings. Raises UsageError."""
    from torch import nn

    place, _, attribute = reference.partition(":")
    _see_this_folder()
    found: Any = _guarded(reference, f"importing {place}", lambda: importlib.import_module(place))
    for name in attribute.split("."):
        if not hasattr(found, name):
            close = nearest(name, [each for each in dir(found) if not each.startswith("_")])
            raise UsageError(f"{reference}: {place} has no {name}" + (f": did you mean {close}?" if close else ""))
        found = getattr(found, name)
    if isinstance(found, nn.Module):
        if settings:
            raise UsageError(f"{reference} is a module already, which --set cannot change")
        return found
    if not callable(found):
        raise UsageError(f"{reference} is a {type(found).__name__}: name a torch.nn.Module, or what makes one")
    made: Any = _guarded(reference, f"calling {attribute}", lambda: found(**settings))
    if not isinstance(made, nn.Module):
        raise UsageError(f"{reference} makes a {type(made).__name__}, not a torch.nn.Module")
    return made


def written_at(reference: str) -> tuple[str, int]:
    """The file and line of the class or factory that an imported reference names; of a module without, itself."""
    place, _, attribute = reference.partition(":")
    found: Any = sys.modules[place]
    for name in attribute.split("."):
        found = getattr(found, name)
    if not (inspect.isclass(found) or inspect.isroutine(found)):
        found = type(found)
    try:
        file = os.path.relpath(inspect.getsourcefile(found) or reference)
        return file, inspect.getsourcelines(found)[1] or 1
    except (OSError, TypeError, ValueError):
        return reference, 1


def example_inputs(
    module: nn.Module, reference: str, texts: Sequence[str]
) -> tuple[tuple[Tensor, ...], dict[str, Tensor], dict[int | str, int]]:
    """Arguments for a module, each with a batch of one: `3x224x224`, `128:int64`, `NAME=SHAPE`, `NAME=:float32`.

    The batch comes first, or where an N stands: `35xNx512`. They have no elements. Without a dtype they have that of
    the module's parameters. Returns them by place and by name, and where their batches are if not first.

    Raises UsageError for what is no shape, and for a module that needs other arguments.
    """
    import torch

    tensors = (*module.parameters(), *module.buffers())
    own = next((each.dtype for each in tensors if each.is_floating_point()), torch.float32)
    args: list[Tensor] = []
    kwargs: dict[str, Tensor] = {}
    batch_dims: dict[int | str, int] = {}
    for text in texts:
        name, equals, rest = text.rpartition("=")
        shape, colon, dtype = rest.partition(":")
        if not _SHAPE.fullmatch(shape) or not (shape or colon) or shape.count("N") > 1:
            raise UsageError(
                f"--input {text}: write the dimensions as 3x224x224, without the batch, or N where it is not the first"
            )
        if colon and dtype not in DTYPES:
            raise UsageError(f"--input {text}: unknown dtype {dtype}: {hint(dtype, DTYPES)}")
        parts = shape.split("x") if shape else []
        if "N" in parts:
            batch_dims[name or len(args)] = parts.index("N")
        else:
            parts.insert(0, "N")
        sizes = [1 if part == "N" else int(part) for part in parts]
        made = torch.empty(sizes, dtype=getattr(torch, dtype) if colon else own, device="meta")
        if not equals:
            args.append(made)
        elif name in kwargs:
            raise UsageError(f"--input {name} is given twice")
        else:
            kwargs[name] = made
    _require_fitting(module, reference, args, kwargs)
    return tuple(args), kwargs, batch_dims


def _require_fitting(module: nn.Module, reference: str, args: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> None:
    """Refuse inputs that forward does not take, before anything is traced."""
    try:
        signature = inspect.signature(module.forward)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        if not args and not kwargs:
            raise UsageError(
                f"{reference}: give the shape of its input without the batch, as --input 3x224x224; "
                f"NAME=SHAPE where there are several, 128:int64 for indices. forward takes {signature}"
            ) from None
        raise UsageError(f"{reference}: {error}: forward takes {signature}") from None


def _guarded(reference: str, doing: str, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except ModuleNotFoundError as error:
        place = reference.partition(":")[0]
        if error.name is not None and (place == error.name or place.startswith(error.name + ".")):
            raise UsageError(
                f"{reference}: there is no module {error.name}, neither in this folder nor among the installed packages"
            ) from None
        raise UsageError(f"{reference}: {doing} fails: {error}") from None
    except (Exception, SystemExit) as error:  # whatever a stranger's code raises
        text = (str(error).strip().splitlines() or [""])[0]
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        raise UsageError(f"{reference}: {doing} fails: {reason}") from None


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """What a module's code prints is kept apart from a report."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
