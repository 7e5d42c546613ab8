"""`scc compare`: evals of the same rows against the first of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compressor_cli.core.files import write_atomic
from compressor_cli.core.jsonl import Row
from compressor_cli.core.paired import Contrast, contrasts, differing, read_eval, shared_rows
from compressor_cli.core.report_compare import compare_report
from compressor_cli.errors import UsageError

SHOWN = 5


@dataclass(frozen=True)
class Comparison:
    """`alone` counts the rows of each eval that not all of them have. `differing` are the rows that differ most."""

    names: Sequence[str]
    rows: int
    alone: Mapping[str, int]
    contrasts: Sequence[Contrast]
    differing: Sequence[Sequence[Row]]

    def as_dict(self) -> dict[str, Any]:
        kept = ("id", "domain", "input", "output", "ratio", "fidelity", "equivalence", "similarity")
        return {
            "names": list(self.names),
            "rows": self.rows,
            "alone": dict(self.alone),
            "contrasts": [{**asdict(one), "verdict": one.verdict} for one in self.contrasts],
            "differing": [
                {
                    name: {field: row[field] for field in kept if field in row}
                    for name, row in zip(self.names, rows, strict=True)
                }
                for rows in self.differing
            ],
        }


def compare(paths: Sequence[Path], *, threshold: float, seed: int, html: Path | None = None) -> Comparison:
    """Raises UsageError for files that share no row, or whose rows cannot be compared."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("one file is named twice")
    if html is not None and html.resolve() in [path.resolve() for path in paths]:
        raise UsageError(f"--html {html} is one of the evals", hint="name another file")
    evals = {name: read_eval(path) for name, path in zip(_names(paths), paths, strict=True)}
    rows = shared_rows(evals)
    names = list(evals)
    found = Comparison(
        names=names,
        rows=len(rows),
        alone={name: len(each) - len(rows) for name, each in evals.items()},
        contrasts=contrasts(names, rows, threshold=threshold, seed=seed),
        differing=differing(rows, SHOWN),
    )
    if html is not None:
        write_atomic(html, compare_report(found.as_dict(), rows))
    return found


def _names(paths: Sequence[Path]) -> list[str]:
    """Stems; where two are equal, the paths."""
    for names in ([path.stem for path in paths], [path.with_suffix("").as_posix() for path in paths]):
        if len(set(names)) == len(names):
            return names
    return [path.as_posix() for path in paths]
