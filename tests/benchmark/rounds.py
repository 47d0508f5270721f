"""Rounds in which entrants take turns, so that a noisy machine is noisy to all of them."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

E = TypeVar("E", bound=Hashable)
T = TypeVar("T")
MIN_ROUNDS: Final = 3
MAX_ROUNDS: Final = 200


@dataclass(frozen=True)
class Ratio:
    """How many times as much one took as the other.

    Attributes:
        median: The median of the rounds.
        error: How far from it, 95 times in 100, the median of endless rounds would be.
    """

    median: float
    error: float


def interleave(
    entrants: Sequence[E], measure: Callable[[E], T], seconds: float
) -> dict[E, list[T]]:
    """Measure each of *entrants* once a round, for so many *seconds*, and three rounds at least.

    Each second round goes the other way, so that none is always measured after the same one.
    """
    found: dict[E, list[T]] = {entrant: [] for entrant in entrants}
    until = time.monotonic() + seconds
    for number in range(MAX_ROUNDS):
        if number >= MIN_ROUNDS and time.monotonic() > until:
            break
        for entrant in entrants[:: -1 if number % 2 else 1]:
            found[entrant].append(measure(entrant))
    return found


def ratio(ours: Sequence[float], others: Sequence[float]) -> Ratio:
    """Compare the same rounds of two entrants."""
    ratios = [a / b for a, b in zip(ours, others, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4)
    # As the notches of a box plot, which do not mind a few rounds that somebody disturbed:
    # McGill, Tukey and Larsen, Variations of Box Plots, 1978.
    return Ratio(median, 1.57 * (high - low) / math.sqrt(len(ratios)))
