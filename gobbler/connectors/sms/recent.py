"""A little memory: facts on deliveries that are asked for soon, or never."""

from __future__ import annotations

from typing import Generic, TypeVar
from uuid import UUID

V = TypeVar("V")


class Recent(Generic[V]):
    """Delivery -> a fact, until it is taken out; when there are too many, the oldest goes."""

    def __init__(self, limit: int) -> None:
        """Keep up to `limit` of them."""
        self._limit = limit
        self._facts: dict[UUID, V] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._facts)

    def put(self, id: UUID, fact: V) -> None:
        """Keep a fact."""
        self._facts.pop(id, None)  # else it would have the age of the one before
        self._facts[id] = fact
        if len(self._facts) > self._limit:
            del self._facts[next(iter(self._facts))]

    def take(self, id: UUID) -> V | None:
        """Take a fact out and return it; None where there is none."""
        return self._facts.pop(id, None)
