"""A torch module as a command line names it, `package.module:callable`, and example inputs for it."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from archprof.errors import UsageError
from archprof.extras import require
from archprof.graph import Graph
from archprof.operators import hint, nearest

if TYPE_CHECKING:
    from torch import Tensor, nn

TORCH_MODULE, ONNX_FILE = "torch module", "ONNX file"  # what an imported network is made of
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


class Source(NamedTuple):
    """A network that a command line names, open: a module and what it takes."""

    name: str  # of the network
    said: str  # by the command line
    kind: str
    module: nn.Module
    args: tuple[Tensor, ...]  # without elements, with a batch of one
    kwargs: Mapping[str, Tensor]
    batch_dims: Mapping[int | str, int | None]  # where their batches are if not first; None: there is none
    settings: Mapping[str, Any]

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """What is refused is told with the words of the command line; what the module prints goes to stderr."""
        try:
            with _apart():
                yield
        except UsageError as error:
            raise type(error)(f"{self.said}: {str(error).removeprefix('_Model ')}") from None

    def described(self, graph: Graph) -> Graph:
        """Its graph, with where it comes from."""
        return msgspec.structs.replace(graph, source=f"{self.kind} {self.said}", parameters=self.settings)


def opened(name: str, inputs: Sequence[str], settings: Mapping[str, Any], *, values: bool = False) -> Source:
    """The torch module or ONNX file that a command line names.

    `inputs` are shapes as `example_inputs` takes them, of an ONNX file those that it leaves open; `settings` keyword
    arguments for the callable. What the module's code prints goes to standard error. The weights of an ONNX file have
    elements if `values`; a torch module has what its code gives it.

    Raises UsageError where a package is missing, and where the module cannot be imported, made or given such inputs.
    """
    require(name, "torch", "torch")
    if name.endswith(".onnx"):
        return _opened_file(name, inputs, settings, values)
    with _apart():
        module = find_module(name, settings)
        args, kwargs, batch_dims = example_inputs(module, name, inputs)
    last = re.split("[.:]", name)[-1]
    return Source(last, name, TORCH_MODULE, module, args, kwargs, batch_dims, settings)


def _opened_file(file: str, inputs: Sequence[str], settings: Mapping[str, Any], values: bool) -> Source:
    require(file, "onnx", "onnx")
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
    from archprof.importer.onnx import open_model

    name = os.path.basename(file).removesuffix(".onnx")
    return Source(name, file, ONNX_FILE, *open_model(file, shapes, values=values), settings)


def import_network(name: str, inputs: Sequence[str], settings: Mapping[str, Any], *, train: bool = False) -> Graph:
    """The Graph of the torch module or ONNX file that a command line names, as `opened` takes it.

    Raises UsageError for what cannot be opened or traced.
    """
    source = opened(name, inputs, settings)
    from archprof.importer.modules import trace

    with source.told():
        traced = trace(
            source.module, source.args, source.kwargs, batch_dims=source.batch_dims, train=train, name=source.name
        )
    return source.described(traced.graph)


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
    _require_settings(found, reference, attribute, settings)
    made: Any = _guarded(reference, f"calling {attribute}", lambda: found(**settings))
    if not isinstance(made, nn.Module):
        raise UsageError(f"{reference} makes a {type(made).__name__}, not a torch.nn.Module")
    return made


def _require_settings(found: Any, reference: str, attribute: str, settings: Mapping[str, Any]) -> None:
    """Refuse settings that a class or factory does not take, before it is called."""
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(**settings)
    except TypeError as error:
        raise UsageError(
            f"{reference}: {error}: {attribute} takes {signature}; give them as --set NAME=VALUE"
        ) from None


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
