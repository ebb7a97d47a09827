"""The free space of one prefix, cut into blocks: which to take next, so that a node's blocks lie together."""

from __future__ import annotations


class Space:
    """``2 ** levels`` blocks, numbered from 0: a binary tree of counts. Level 0 are the blocks themselves; only what was
    ever taken is kept, so a prefix of any size costs nothing."""

    def __init__(self, levels: int) -> None:
        self._levels = levels
        self._used: dict[tuple[int, int], int] = {}  # (level, number) -> how many blocks below are taken
        self._empty: dict[tuple[int, int], int] = {}  # the same -> the level of the largest part that is all free; -1
        self._closed: set[tuple[int, int]] = set()

    def take(self, number: int, level: int = 0) -> None:
        """Blocks ``number << level`` and following, ``2 ** level`` of them, all free until now, are taken."""
        if level:
            self._closed.add((level, number))
        size = 1 << level
        at = (level, number)
        self._used[at] = size
        self._empty[at] = -1
        while at[0] < self._levels:
            at = (at[0] + 1, at[1] >> 1)
            self._used[at] = self._used.get(at, 0) + size
            low, high = (at[0] - 1, at[1] * 2), (at[0] - 1, at[1] * 2 + 1)
            self._empty[at] = max(self._empty.get(low, low[0]), self._empty.get(high, high[0]))

    def closed(self, number: int) -> bool:
        """Whether a block is in a part that was taken as a whole."""
        return any((level, number >> level) in self._closed for level in range(1, self._levels + 1))

    def roomy(self) -> int | None:
        """The first block of the largest part that is all free, the lowest of such; None when nothing is free."""
        at = (self._levels, 0)
        best = self._empty.get(at, self._levels)
        if best < 0:
            return None
        while at[0] > best:
            low = (at[0] - 1, at[1] * 2)
            at = low if self._empty.get(low, low[0]) == best else (at[0] - 1, at[1] * 2 + 1)
        return at[1] << at[0]

    def near(self, number: int) -> int | None:
        """The lowest free block of the smallest part that has both one and this block; None when nothing is free."""
        levels = range(self._levels)
        outside = max((level for level in levels if (level, number >> level) in self._closed), default=0)
        for level in range(outside, self._levels):
            beside = (level, (number >> level) ^ 1)
            if self._free(beside):
                return self._lowest(beside)
        return None

    def _free(self, at: tuple[int, int]) -> bool:
        return self._used.get(at, 0) < 1 << at[0]

    def _lowest(self, at: tuple[int, int]) -> int:
        while at[0]:
            low = (at[0] - 1, at[1] * 2)
            at = low if self._free(low) else (at[0] - 1, at[1] * 2 + 1)
        return at[1]
