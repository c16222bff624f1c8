"""The rows of a network at every depth of its paths, as one tree: what the page's table, graph and icicle fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from archprof.analysis import Analysis
from archprof.analysis.table import Group, fold_groups


class TreeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A group of nodes under one path, or equal neighbouring copies of a repeat. Children follow their parent."""

    group: Group
    parent: int | None  # its place among the rows
    name: str  # what its path adds to that of the group around it; empty for a node at the path of its group

    @property
    def is_leaf(self) -> bool:
        """Whether it is one node, which nothing lies below."""
        return len(self.group.figures) == 1


class _Draft:
    """A row and those below it, before they have places."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.children: list[_Draft] = []


def tree(analysis: Analysis) -> tuple[TreeRow, ...]:
    """The rows in the order of a table, those of training heads last.

    A row at depth N of the paths is the table's row under `fold=N`. Two or more equal neighbouring copies
    of a repeat lie together under a row of their own, `fold=N, repeats=True`'s.
    """
    deepest = max((len(each.node.path.split(".")) for each in analysis.figures), default=0)
    holder: dict[str, _Draft] = {}  # path of a node -> the innermost row so far that it lies in
    roots: list[_Draft] = []
    for depth in range(1, deepest + 1):
        runs = {
            each.node.path: group
            for group in fold_groups(analysis, fold=depth, repeats=True)
            if group.copies > 1
            for each in group.figures
        }
        drafts: dict[str, _Draft] = {}  # path of a run's first node -> the run
        for group in fold_groups(analysis, fold=depth):
            first = group.figures[0].node.path
            around = holder.get(first)
            if around is not None and len(around.group.figures) == 1:
                continue  # one node: it is there already
            siblings = roots if around is None else around.children
            run = runs.get(first)
            if run is not None:
                start = run.figures[0].node.path
                if start not in drafts:
                    drafts[start] = _Draft(run)
                    siblings.append(drafts[start])
                siblings = drafts[start].children
            made = _Draft(group)
            siblings.append(made)
            for each in group.figures:
                holder[each.node.path] = made
    return tuple(_placed(roots))


def _placed(roots: Sequence[_Draft]) -> Iterator[TreeRow]:
    """The drafts in preorder."""
    waiting: list[tuple[_Draft, int | None, str]] = [(root, None, "") for root in reversed(roots)]
    place = 0
    while waiting:
        draft, parent, around = waiting.pop()
        path = draft.group.path
        yield TreeRow(group=draft.group, parent=parent, name="" if path == around else path.removeprefix(f"{around}."))
        inside = around if draft.group.copies > 1 else path
        waiting.extend((child, place, inside) for child in reversed(draft.children))
        place += 1
