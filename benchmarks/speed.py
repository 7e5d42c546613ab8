"""How fast `scc` starts and compresses, against what stands beside it in the same run.

    python benchmarks/speed.py

Times of two things that are compared are taken in turns, so that what else the machine does falls on both. mBERT is
the encoder of LLMLingua-2's small model, with random weights, in fp32 under torch on as many threads as onnxruntime
takes: one for each physical core.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from reporting import add_json, heading, physical_cores, print_heading, print_table, write_figures

from compressor_cli import compress
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.scorer import EMBEDDED
from compressor_cli.settings import CompressSettings
from compressor_cli.stages.compress import compress_file

SAMPLES = Path(__file__).resolve().parents[1] / "configs" / "samples"
RATE = 0.5
MBERT_VOCABULARY = 119_547
_PAUSE = 0.02  # seconds; the idle threads of one library spin for a moment after it is done
_LONG, _ROW, _ROWS = 25_000, 160, 100  # tokens, tokens, rows

Action = Callable[[], object]


@dataclass(frozen=True)
class Measure:
    """`bar` in the unit of `value`. `most`: the value may be at most the bar, else it must be at least that."""

    name: str
    value: float
    unit: str
    detail: str
    bar: float | None = None
    most: bool = True

    @property
    def met(self) -> bool | None:
        if self.bar is None:
            return None
        return self.value <= self.bar if self.most else self.value >= self.bar


@dataclass(frozen=True)
class Context:
    """`text` as long as needed is cut from `source`."""

    source: str
    repeats: int
    count: Callable[[str], int]

    def text(self, tokens: int) -> str:
        """The first words of the source, over again where it ends, of at most so many tokens."""
        copies = tokens // max(self.count(self.source), 1) + 1
        pieces = "\n\n".join([self.source] * copies).split(" ")
        low, high = 1, len(pieces)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.count(" ".join(pieces[:middle])) <= tokens else (low, middle - 1)
        return " ".join(pieces[:low])


def in_turns(actions: Sequence[Action], rounds: int, inner: Sequence[int] | None = None) -> list[list[float]]:
    """Seconds of each action, taken in turns; `inner` says how often each is timed in a round. The first is not
    timed."""
    times = inner or [1] * len(actions)
    found: list[list[float]] = [[] for _ in actions]
    for action in actions:
        action()
    for _ in range(rounds):
        for action, often, seconds in zip(actions, times, found, strict=True):
            time.sleep(_PAUSE)
            for _ in range(often):
                began = time.perf_counter()
                action()
                seconds.append(time.perf_counter() - began)
    return found


def start_up(context: Context) -> Iterator[Measure]:
    ours, typer = in_turns([_process([*_scc(), "--help"]), _process(["-c", "import typer"])], max(context.repeats, 1))
    detail = f"{_ms(median(ours))} against {_ms(median(typer))}, {len(ours)} processes each"
    yield Measure("scc --help / python -c 'import typer'", median(ours) / median(typer), "x", detail, 3.0)


def model_alone(context: Context, mbert: Mbert) -> Iterator[Measure]:
    window = np.random.default_rng(0).integers(1000, 20_000, size=(1, 256))
    ours, theirs = in_turns([_session(window), lambda: mbert.classify(window)], context.repeats, [5, 1])
    detail = f"{_ms(median(ours))} against {_ms(median(theirs))}"
    yield Measure("mBERT / model alone, 256 tokens", median(theirs) / median(ours), "x", detail, 30.0, most=False)


def end_to_end(context: Context, mbert: Mbert) -> Iterator[Measure]:
    """mBERT's windows go one by one, without padding, which is its faster way on a CPU; joining its words is free."""
    text = context.text(1000)
    ours, theirs = in_turns(
        [lambda: compress(text, rate=RATE), lambda: mbert.classify_text(text)], context.repeats, [5, 1]
    )
    detail = f"{_ms(median(ours))} against {_ms(median(theirs))}"
    yield Measure("mBERT / compress(), 1,000 tokens", median(theirs) / median(ours), "x", detail, 12.0, most=False)


def cold(context: Context) -> Iterator[Measure]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "text.md")
        file.write_text(context.text(1000), encoding="utf-8")
        (seconds,) = in_turns([_process([*_scc(), "compress", str(file), "--rate", str(RATE)])], context.repeats)
    yield Measure("scc compress, 1,000 tokens, cold", median(seconds), "s", f"{len(seconds)} processes", 0.7)


def warm(context: Context) -> Iterator[Measure]:
    for tokens, often, bar in ((_ROW, 5, None), (1000, 5, 50.0)):
        text = context.text(tokens)
        (seconds,) = in_turns([lambda text=text: compress(text, rate=RATE)], context.repeats, [often])  # type: ignore[misc]
        detail = f"p95 {_ms(float(np.percentile(seconds, 95)))}, {len(seconds)} calls"
        yield Measure(f"compress() warm, {tokens:,} tokens", 1000 * median(seconds), "ms", detail, bar)
    text = context.text(_LONG)
    (seconds,) = in_turns([lambda: compress(text, rate=RATE)], max(context.repeats // 5, 1))
    speed = context.count(text) / median(seconds)
    yield Measure(
        f"compress() of {_LONG:,} tokens", speed, "tokens/s", f"{median(seconds):.2f} s, {len(seconds)} calls"
    )


def batch(context: Context) -> Iterator[Measure]:
    count = min(_ROWS, 10 * context.repeats)
    words = context.text(_ROW * count).split(" ")
    step = len(words) // count
    rows = [{"id": i, "text": " ".join(words[i * step : (i + 1) * step])} for i in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in.jsonl")
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        targets = (Path(folder, f"out{i}.jsonl") for i in range(1000))
        settings = CompressSettings(rate=RATE)
        (seconds,) = in_turns([lambda: compress_file(settings, source, next(targets))], max(context.repeats // 5, 1))
    detail = f"{count} rows of about {_ROW} tokens, {len(seconds)} runs"
    yield Measure("scc compress --input, batch", count / median(seconds), "rows/s", detail)


class Mbert:
    """A token classifier of the size of mBERT-base; what its weights are does not change what they cost."""

    def __init__(self) -> None:
        import torch
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertForTokenClassification

        torch.set_num_threads(physical_cores())
        config = BertConfig(
            vocab_size=MBERT_VOCABULARY, num_hidden_layers=12, hidden_size=768, num_attention_heads=12, num_labels=2
        )
        self._torch = torch
        self._model = BertForTokenClassification(config).float().eval()
        self._tokenizer = Tokenizer.from_file(str(EMBEDDED / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def classify(self, ids: Any) -> object:
        with self._torch.inference_mode():
            tokens = self._torch.as_tensor(ids, dtype=self._torch.long)
            return self._model(input_ids=tokens, attention_mask=self._torch.ones_like(tokens)).logits

    def classify_text(self, text: str) -> None:
        pieces = np.array(self._tokenizer.encode(text, add_special_tokens=False).ids) % MBERT_VOCABULARY
        for at in range(0, len(pieces), 510):
            self.classify(np.concatenate(([101], pieces[at : at + 510], [102]))[None])


def _session(window: Any) -> Action:
    """The embedded model alone, with the session options that the product leaves as they are."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    path = str(EMBEDDED / "model.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {"input_ids": window, "attention_mask": np.ones_like(window)}
    return lambda: session.run(None, feed)


def _scc() -> list[str]:
    """The installed script of this Python where there is one."""
    script = shutil.which("scc", path=str(Path(sys.executable).parent))
    return [script] if script else ["-m", "compressor_cli"]


def _process(arguments: Sequence[str]) -> Action:
    """A fresh process with its output thrown away. It may use byte code, as an installed package has it."""
    command = [sys.executable, *arguments]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    return lambda: subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=True)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def read_source(path: Path | None) -> str:
    """The samples' prose: a transcript, and the paragraphs of a page of notes."""
    if path is not None:
        return path.read_text(encoding="utf-8")
    notes = (SAMPLES / "notes.md").read_text(encoding="utf-8").split("\n\n")
    prose = [part for part in notes if part[:1].isalpha() and len(part) > 80]
    return "\n\n".join([(SAMPLES / "transcript.txt").read_text(encoding="utf-8").strip(), *prose])


PARTS: dict[str, Callable[[Context], Iterator[Measure]]] = {
    "start": start_up,
    "cold": cold,
    "warm": warm,
    "batch": batch,
}
AGAINST_MBERT = {"model": model_alone, "compress": end_to_end}


def run_parts(names: Sequence[str], context: Context) -> Iterator[Measure]:
    """Those with torch last: its threads would still be there for the others."""
    for name in names:
        if name in PARTS:
            yield from PARTS[name](context)
    against = [name for name in names if name in AGAINST_MBERT]
    missing = [package for package in ("torch", "transformers") if find_spec(package) is None]
    if against and missing:
        parts, packages = ", ".join(against), " and ".join(missing)
        print(f"not measured: {parts}, for lack of {packages}: pip install 'compressor-cli[torch]'")
    elif against:
        mbert = Mbert()
        for name in against:
            yield from AGAINST_MBERT[name](context, mbert)


def print_measures(measures: Sequence[Measure]) -> None:
    rows = [
        (
            m.name,
            f"{m.value:,.{_digits(m.value)}f} {m.unit}",
            "" if m.bar is None else f"{'<=' if m.most else '>='} {m.bar:g} {m.unit}",
            {None: "", True: "yes", False: "no"}[m.met],
            m.detail,
        )
        for m in measures
    ]
    print_table("Medians; ratios are of medians taken in turns", ("measure", "median", "bar", "met", "detail"), rows)


def _digits(value: float) -> int:
    return 2 if value < 10 else 1 if value < 100 else 0


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", type=Path, help="take texts from this file; default: configs/samples")
    parser.add_argument("--repeats", type=int, default=15, help="rounds of each measurement")
    parser.add_argument("--parts", nargs="+", choices=(*PARTS, *AGAINST_MBERT), default=[*PARTS, *AGAINST_MBERT])
    add_json(parser)
    return parser.parse_args(argv)


def main() -> None:
    args = parse_arguments()
    head = heading(EMBEDDED)
    print_heading(head)
    print(f"{physical_cores()} threads for torch, as many as onnxruntime takes; rate {RATE}")
    context = Context(read_source(args.text), args.repeats, token_counter().count)
    measures = list(run_parts(args.parts, context))
    print_measures(measures)
    write_figures(args.json, head, measures=[{**asdict(measure), "met": measure.met} for measure in measures])


if __name__ == "__main__":
    main()
