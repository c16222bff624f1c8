"""A network in one row: what `list` and `compare` print."""

from __future__ import annotations

import msgspec

from archprof.analysis.analysis import analyse
from archprof.analysis.memory import memory
from archprof.graph import Graph
from archprof.spec.document import Document, PublishedErrors, Variant


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A network's totals. A count is None where not every operator is counted; memory is in bytes."""

    name: str
    aliases: tuple[str, ...]  # what else it may be called
    family: str  # the spec's name, where this is a variant of it; else its own
    title: str | None
    year: int | None
    source: str | None
    counting: str
    params: int
    flops: int | None
    activations: int | None
    depth: int
    inference_memory: int  # the peak
    training_memory: int
    receptive_field: tuple[float, ...] | None
    errors: PublishedErrors | None


def summarise(
    graph: Graph,
    document: Document | None,
    variant: Variant | None,
    *,
    counting: str,
    batch: int = 1,
    dtype: str = "float32",
) -> Summary:
    """The row of a network, its FLOPs in one convention for all. Raises UsageError as `analyse` does."""
    analysis = analyse(graph, batch=batch, counting=counting, dtype=dtype)
    needed = memory(graph, batch=batch, dtype=dtype)
    field = analysis.receptive_field
    written = document if variant is None else variant  # a variant is another network
    return Summary(
        name=graph.name,
        aliases=() if variant is None else variant.aliases,
        family=graph.name if document is None else document.name,
        title=graph.title,
        year=graph.year,
        source=graph.source,
        counting=counting,
        params=analysis.total.params,
        flops=None if analysis.lower_bound else analysis.total.flops,
        activations=None if analysis.lower_bound else analysis.total.activations,
        depth=analysis.depth,
        inference_memory=needed.inference_peak,
        training_memory=needed.training_peak,
        receptive_field=None if field is None else tuple(map(float, field)),
        errors=None if written is None else written.published_errors,
    )
