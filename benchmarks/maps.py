"""How large the maps are that undo a compression, against `zstd -19` of the original.

    python benchmarks/maps.py --qmsum meetings.jsonl --xquad xquad.en.json --rows train.jsonl

Texts above 2 kB are compressed at rate 0.5, or to the fewest tokens that `compress` says it needs; each map is applied
and its result compared. A ratio is map / zstd -19. `zstd, prefix` is zstd -19 with the compressed text as its
dictionary, which would undo the compression, too.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import zstandard
from reporting import add_json, heading, print_heading, print_table, write_figures

from compressor_cli import Receipt, compress
from compressor_cli.core.maps import apply_map, make_map
from compressor_cli.engines.scorer import EMBEDDED
from compressor_cli.errors import BudgetTooSmallError

REPO = Path(__file__).resolve().parents[1]
RATE = 0.5
SMALLEST = 2048  # bytes
BAR = 0.6


@dataclass(frozen=True)
class Outcome:
    """One text: sizes in bytes, processor time in seconds. `rate` is what the result has of its tokens.

    `met` is false where compression could not come down to `RATE`.
    """

    group: str
    size: int
    compressed: int
    zstd: int
    prefix: int
    map: int
    rate: float
    met: bool
    make: float
    apply: float

    @property
    def ratio(self) -> float:
        return self.map / self.zstd


def read_texts(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Group and text."""
    for path in args.texts:
        yield "files", path.read_text(encoding="utf-8")
    for row in _rows(args.qmsum):
        yield "qmsum", row["text"]
    if args.xquad:
        for article in json.loads(args.xquad.read_text(encoding="utf-8"))["data"]:
            yield "xquad", "\n\n".join(paragraph["context"] for paragraph in article["paragraphs"])
    for path in args.rows:
        for row in _rows(path):
            yield "rows", next(message["content"] for message in row["messages"] if message["role"] == "user")


def _rows(path: Path | None) -> Iterator[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    return (json.loads(line) for line in lines if line.strip())


def measure(group: str, text: str, repeats: int) -> Outcome | None:
    """None for a text that compression leaves as it is: its map is a header."""
    receipt, met = _compress(text)
    if receipt.compressed == text:
        return None
    original, compressed = text.encode(), receipt.compressed.encode()
    map_, make = _timed(lambda: make_map(original, compressed), repeats)
    back, apply = _timed(lambda: apply_map(compressed, map_), repeats)
    assert back == original
    plain = zstandard.ZstdCompressor(level=19).compress(original)
    name = f"{group}, {receipt.domain}" if group == "rows" else group
    sizes = (len(original), len(compressed), len(plain), len(_with_prefix(original, compressed)), len(map_))
    return Outcome(name, *sizes, receipt.ratio, met, make, apply)


def _compress(text: str) -> tuple[Receipt, bool]:
    try:
        return compress(text, rate=RATE), True
    except BudgetTooSmallError as error:
        return compress(text, max_tokens=error.tokens_needed), False


def _timed(action: Callable[[], bytes], repeats: int) -> tuple[bytes, float]:
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        result = action()
        seconds.append(time.process_time() - began)
    return result, median(seconds)


def _with_prefix(original: bytes, compressed: bytes) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, source_size=len(original), dict_size=len(compressed)
    )
    prefix = zstandard.ZstdCompressionDict(compressed, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=prefix).compress(original)


def print_groups(outcomes: Sequence[Outcome]) -> None:
    sizes = ("bytes", "zstd -19", "zstd, prefix", "maps")
    columns = ("texts", "number", "at 0.5", "rate", *sizes, "mean", "worst", "make", "apply")
    rows = []
    for group in dict.fromkeys(outcome.group for outcome in outcomes):
        of = [outcome for outcome in outcomes if outcome.group == group]
        size = sum(o.size for o in of)
        rows.append(
            (
                group,
                str(len(of)),
                str(sum(o.met for o in of)),
                f"{mean(o.rate for o in of):.2f}",
                f"{size:,}",
                f"{sum(o.zstd for o in of):,}",
                f"{sum(o.prefix for o in of):,}",
                f"{sum(o.map for o in of):,}",
                f"{mean(o.ratio for o in of):.3f}",
                f"{max(o.ratio for o in of):.3f}",
                f"{1e7 * sum(o.make for o in of) / size:.1f}",
                f"{1e7 * sum(o.apply for o in of) / size:.1f}",
            )
        )
    print_table("Bytes; ratios to zstd -19; milliseconds of processor time for 10 kB", columns, rows)


def print_bar(outcomes: Sequence[Outcome]) -> None:
    """At the rate that the bar is for."""
    ratios = [outcome.ratio for outcome in outcomes if outcome.met]
    if ratios:
        above = sum(ratio > BAR for ratio in ratios)
        print(
            f"\nat rate {RATE}: mean {mean(ratios):.3f}, worst {max(ratios):.3f}, {above} of {len(ratios)} above {BAR}"
        )


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    pages = sorted([*REPO.glob("configs/samples/*.md"), *REPO.glob("docs/*.md"), REPO / "README.md"])
    parser.add_argument(
        "--texts", type=Path, nargs="+", default=pages, help="default: samples and docs of this project"
    )
    parser.add_argument("--qmsum", type=Path, help="JSONL with `text`")
    parser.add_argument(
        "--xquad", type=Path, help="a file in the form of SQuAD; the paragraphs of an article are one text"
    )
    parser.add_argument("--rows", type=Path, nargs="+", default=[], help="chat rows, whose user messages are texts")
    parser.add_argument(
        "--repeats", type=int, default=3, help="maps made of each text, of which the median time counts"
    )
    add_json(parser)
    return parser.parse_args(argv)


def main() -> None:
    args = parse_arguments()
    head = heading(EMBEDDED)
    print_heading(head)
    texts = [(group, text) for group, text in read_texts(args) if len(text.encode()) > SMALLEST]
    outcomes = [outcome for group, text in texts if (outcome := measure(group, text, args.repeats))]
    print(f"{len(texts)} texts above {SMALLEST:,} bytes, {len(texts) - len(outcomes)} of them left as they are")
    print_groups(outcomes)
    print_bar(outcomes)
    write_figures(args.json, head, outcomes=[asdict(outcome) for outcome in outcomes])


if __name__ == "__main__":
    main()
