"""Rows shared out to splits: what belongs together stays together, and each stratum is shared in the same ratios.

The result depends on the rows, the ratios and the seed, and not on the order of the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from compressor_cli.core.jsonl import content_key
from compressor_cli.errors import UsageError


@dataclass(frozen=True)
class Group:
    """Rows, by index, that go to one split; its stratum is that of most of them."""

    name: str
    rows: tuple[int, ...]
    stratum: str


def group(ties: Sequence[Sequence[str]], strata: Sequence[str]) -> list[Group]:
    """Rows that share a tie, also by way of others, are one group."""
    parents: dict[str, str] = {}

    def root(tie: str) -> str:
        while parents.setdefault(tie, tie) != tie:
            parents[tie] = parents[parents[tie]]
            tie = parents[tie]
        return tie

    for of_row in ties:
        first = root(of_row[0])
        for other in of_row[1:]:
            one, two = sorted((first, root(other)))
            parents[two] = first = one  # the lower name leads, whatever the order
    members: dict[str, list[int]] = {}
    for row, of_row in enumerate(ties):
        members.setdefault(root(of_row[0]), []).append(row)
    return [Group(name, tuple(rows), _most(strata[row] for row in rows)) for name, rows in members.items()]


def share_out(groups: Sequence[Group], ratios: Mapping[str, Fraction], seed: int) -> dict[str, list[Group]]:
    """Large groups first, each to the split that lacks most of its share, of this stratum and those before it.

    Raises UsageError where there are fewer groups than splits to fill.
    """
    wanted = [split for split, ratio in ratios.items() if ratio]
    if len(groups) < len(wanted):
        raise UsageError(
            f"{len(groups)} sources cannot fill {len(wanted)} splits, for one never stands in two",
            hint="set a ratio to 0; or say with --group-by which field names the source",
        )
    shared: dict[str, list[Group]] = {split: [] for split in wanted}
    have = dict.fromkeys(wanted, 0)
    total = 0
    for stratum in sorted({group.stratum for group in groups}):
        inside = [group for group in groups if group.stratum == stratum]
        total += sum(len(group.rows) for group in inside)
        for one in sorted(inside, key=lambda group: (-len(group.rows), content_key(seed, group.name))):
            split = max(wanted, key=lambda name: ratios[name] * total - have[name])
            shared[split].append(one)
            have[split] += len(one.rows)
    _fill(shared)
    return shared


def _fill(shared: dict[str, list[Group]]) -> None:
    """An empty split gets the smallest group of the one with the most groups."""
    for split, groups in shared.items():
        if not groups:
            most = max(shared, key=lambda name: len(shared[name]))
            smallest = min(shared[most], key=lambda group: (len(group.rows), group.name))
            shared[most].remove(smallest)
            shared[split].append(smallest)


def _most(strata: Iterable[str]) -> str:
    counts = Counter(strata)
    return min(counts, key=lambda name: (-counts[name], name))
