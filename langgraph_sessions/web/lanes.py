"""The tree of a session's checkpoints, drawn in lanes as `git log --graph` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langgraph_sessions.models import CheckpointInfo


@dataclass(frozen=True)
class Row:
    """A checkpoint, and the lines beside it.

    Attributes:
        checkpoint: The checkpoint.
        cells: For each lane, the style classes of what is drawn there.
        is_end: Whether nothing followed it: a branch ends there.
    """

    checkpoint: CheckpointInfo
    cells: tuple[str, ...]
    is_end: bool


def rows(checkpoints: Sequence[CheckpointInfo], *, more: bool = False) -> list[Row]:
    """Return a row for each of *checkpoints*, which are the newest first.

    Each stands in the lane of what followed it, and where several did, in the first of theirs,
    which the others join. With *more*, older ones are on another page, where lines lead.
    """
    known = {checkpoint.checkpoint_id for checkpoint in checkpoints}
    lanes: list[str | None] = []  # Which checkpoint comes next in each.
    found = []
    for checkpoint in checkpoints:
        above = list(lanes)
        joining = [at for at, awaited in enumerate(lanes) if awaited == checkpoint.checkpoint_id]
        own = joining[0] if joining else _free(lanes)
        for lane in joining:
            lanes[lane] = None
        if more or checkpoint.parent_id in known:
            lanes[own] = checkpoint.parent_id
        found.append(Row(checkpoint, _cells(above, lanes, own, joining), not joining))
        while lanes and lanes[-1] is None:
            lanes.pop()
    return found


def _free(lanes: list[str | None]) -> int:
    if None not in lanes:
        lanes.append(None)
    return lanes.index(None)


def _cells(
    above: list[str | None], below: list[str | None], own: int, joining: list[int]
) -> tuple[str, ...]:
    last = max([own, *joining])
    cells = []
    for lane in range(len(below)):
        lines = {
            "up": lane < len(above) and above[lane] is not None,
            "down": below[lane] is not None,
            "left": own < lane <= last,
            "right": own <= lane < last,
            "dot": lane == own,
        }
        cells.append(" ".join(name for name, is_there in lines.items() if is_there))
    return tuple(cells)
