"""The operators of the language. Importing the package fills the registry."""

from archprof.operators import (  # noqa: F401  (imported to be registered)
    activation,
    attention,
    convolution,
    elementwise,
    embedding,
    layout,
    linear,
    normalization,
    parameter,
    pooling,
    recurrent,
)
from archprof.operators.base import (
    REGISTRY,
    Operator,
    create,
    find,
    hint,
    listed,
    listed_and,
    nearest,
    required_fields,
    shown,
)

__all__ = [
    "REGISTRY",
    "Operator",
    "create",
    "find",
    "hint",
    "listed",
    "listed_and",
    "nearest",
    "required_fields",
    "shown",
]
