"""What is counted, a few numbers at a time: the page of the metrics would give all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from prometheus_client.samples import Sample

from gobbler.metrics import Metrics

_MEMORY: Final = "/proc/self/statm"


def samples(metrics: Metrics, *names: str) -> Iterator[Sample]:
    """Yield the samples with these names; nobody but their metrics is asked."""
    for family in metrics.registry.restricted_registry(names).collect():
        yield from family.samples


def total(metrics: Metrics, name: str) -> float:
    """Return the sum over all labels; 0 where there is no such sample."""
    return sum(sample.value for sample in samples(metrics, name))


def memory() -> int:
    """Return the resident bytes of this process (proc(5)); 0 where the system does not tell."""
    try:
        with open(_MEMORY, encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
