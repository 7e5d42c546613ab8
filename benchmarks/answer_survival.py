"""How many answers are still in a text after compression, against simple ways to meet the same budget.

    python benchmarks/answer_survival.py --xquad xquad.en.json --qmsum meetings.jsonl
    python benchmarks/answer_survival.py --query --xquad xquad.en.json --rates 0.33 0.2 0.1

An answer survives when it stands contiguously, at word bounds, in the compressed text, after SQuAD normalisation; only
answers that stand so in the full text count. Articles are numbered from 1: the odd ones may be used to choose between
variants of the engine, the even ones are reported.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reporting import add_json, heading, print_heading, print_table, write_figures

from compressor_cli import compress
from compressor_cli.core import metrics
from compressor_cli.core.baselines import (
    Count,
    System,
    random_words,
    self_information,
    truncation,
    without_articles,
    without_stop_words,
)
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.options import PROTECTED
from compressor_cli.engines.scorer import EMBEDDED, model_folder
from compressor_cli.errors import BudgetTooSmallError

BARE = "scc --protect none"
CHILD = Path(__file__).with_name("compress_child.py")


@dataclass(frozen=True)
class Passage:
    """`questions`: for each, the gold answers that stand in the text; `wordings`: what they ask."""

    text: str
    questions: tuple[tuple[str, ...], ...]
    wordings: tuple[str, ...]


@dataclass(frozen=True)
class Meeting:
    text: str
    answers: tuple[str, ...]
    wordings: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """One system on one text; `found` of `asked` answers (a meeting: content words of the answers) are there."""

    found: int
    asked: int
    tokens_in: int
    tokens_out: int
    budget: int
    words: int
    runs: int
    negations_kept: int
    negations: int
    seconds: float


@dataclass(frozen=True)
class Summary:
    """Sums and means over the texts of a set."""

    survival: float
    mean_run: float
    negations: float
    budget_used: float
    seconds: float
    seconds_per_1000: float


def read_xquad(path: Path, articles: str) -> tuple[list[Passage], list[str]]:
    """Passages of the chosen articles, and the texts of all: what is rare is judged on the whole file."""
    data = json.loads(path.read_text(encoding="utf-8"))["data"]
    passages: list[Passage] = []
    texts: list[str] = []
    for number, article in enumerate(data, start=1):
        chosen = articles == "all" or (number % 2 == 1) == (articles == "odd")
        for paragraph in article["paragraphs"]:
            texts.append(paragraph["context"])
            if chosen:
                passages.append(_passage(paragraph))
    return passages, texts


def _passage(paragraph: dict[str, Any]) -> Passage:
    full = metrics.normalise(paragraph["context"])
    golds = (tuple(dict.fromkeys(a["text"] for a in qa["answers"])) for qa in paragraph["qas"])
    standing = (tuple(answer for answer in gold if metrics.stands_in(answer, full)) for gold in golds)
    asked = [(gold, qa["question"]) for gold, qa in zip(standing, paragraph["qas"], strict=True) if gold]
    return Passage(paragraph["context"], tuple(gold for gold, _ in asked), tuple(wording for _, wording in asked))


def read_qmsum(path: Path) -> list[Meeting]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        Meeting(row["text"], *(tuple(q[key] for q in row["queries"]) for key in ("answer", "query"))) for row in rows
    ]


def answers_found(passage: Passage, output: str) -> tuple[int, int]:
    """A question's answer survives when one of its gold answers does."""
    kept = metrics.normalise(output)
    found = sum(any(metrics.stands_in(gold, kept) for gold in golds) for golds in passage.questions)
    return found, len(passage.questions)


def answer_words_found(meeting: Meeting, output: str) -> tuple[int, int]:
    standing, kept = frozenset(metrics.words(meeting.text)), frozenset(metrics.words(output))
    wanted = [metrics.content_words(answer, standing) for answer in meeting.answers]
    return sum(len(each & kept) for each in wanted), sum(map(len, wanted))


def measure(
    text: str, output: str, found: tuple[int, int], *, budget: int, count: Count, seconds: float, system: str
) -> Outcome:
    tokens_out = count(output)
    if tokens_out > budget:
        raise AssertionError(f"{system} wrote {tokens_out} tokens where the budget is {budget}")
    original, kept = metrics.words(text), metrics.words(output)
    matched, runs = metrics.kept_runs(original, kept)
    negations_kept, negations = metrics.negations_kept(original, kept)
    return Outcome(*found, count(text), tokens_out, budget, matched, runs, negations_kept, negations, round(seconds, 6))


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    seconds = sum(o.seconds for o in outcomes)
    return Summary(
        survival=_share(sum(o.found for o in outcomes), sum(o.asked for o in outcomes)),
        mean_run=_share(sum(o.words for o in outcomes), sum(o.runs for o in outcomes)),
        negations=_share(sum(o.negations_kept for o in outcomes), sum(o.negations for o in outcomes)),
        budget_used=sum(_share(o.tokens_out, o.budget) for o in outcomes) / len(outcomes),
        seconds=seconds,
        seconds_per_1000=1000 * seconds / sum(o.tokens_in for o in outcomes),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def budget_of(text: str, rate: float, count: Count) -> int:
    return math.floor(rate * count(text))


def scc(tokenizer: str, model: str | None, query: str | None = None, protect: str = PROTECTED) -> System:
    """Facts are protected as by default, and lost where the budget does not hold them all: every text counts."""

    def system(text: str, budget: int) -> str:
        try:
            receipt = compress(
                text, max_tokens=budget, tokenizer=tokenizer, model=model, query=query, protect=protect, allow_loss=True
            )
            return receipt.compressed
        except BudgetTooSmallError:  # told as a budget that was not used
            return ""

    return system


def baselines(count: Count, passages: Sequence[str], seed: int) -> dict[str, System]:
    return {
        "truncation": truncation(count),
        "articles dropped": without_articles(count),
        "random words": random_words(count, seed),
        "stop words dropped": without_stop_words(count),
        "self-information": self_information(count, passages),
    }


def run_passages(systems: dict[str, System], passages: Sequence[Passage], rate: float, count: Count) -> dict[str, Any]:
    """Outcomes by system, one a passage."""
    found: dict[str, list[Outcome]] = {name: [] for name in systems}
    for passage in passages:
        budget = budget_of(passage.text, rate, count)
        for name, system in systems.items():
            began = time.perf_counter()
            output = system(passage.text, budget)
            seconds = time.perf_counter() - began
            hits = answers_found(passage, output)
            found[name].append(
                measure(passage.text, output, hits, budget=budget, count=count, seconds=seconds, system=name)
            )
    return found


def xquad_part(args: argparse.Namespace, count: Count) -> list[dict[str, Any]]:
    passages, texts = read_xquad(args.xquad, args.articles)
    if not any(passage.questions for passage in passages):
        raise SystemExit(f"error: {args.xquad}: no answers to look for in the {args.articles} articles")
    bare = scc(args.tokenizer, args.model, protect="none")
    systems = {"scc": scc(args.tokenizer, args.model), BARE: bare, **baselines(count, texts, args.seed)}
    systems["scc"](passages[0].text, budget_of(passages[0].text, 0.5, count))  # loads the model
    tables = []
    for rate in args.rates:
        outcomes = run_passages(systems, passages, rate, count)
        rows = [_xquad_row(name, outcomes, args) for name in systems]
        questions = sum(len(passage.questions) for passage in passages)
        title = f"{args.xquad.name}, {args.articles} articles: {questions} questions on {len(passages)} paragraphs"
        _print_xquad(f"{title}, {rate:.0%} of {args.tokenizer} tokens", rows)
        tables.append({"set": "xquad", "rate": rate, "questions": questions, "systems": rows})
    return tables


def _xquad_row(name: str, outcomes: dict[str, list[Outcome]], args: argparse.Namespace) -> dict[str, Any]:
    row: dict[str, Any] = {"system": name, **asdict(summarise(outcomes[name]))}
    if name != "scc":
        ours, theirs = ([o.found for o in outcomes[which]] for which in ("scc", name))
        asked = [o.asked for o in outcomes[name]]
        row["difference"] = _share(sum(ours) - sum(theirs), sum(asked))
        row["interval"] = metrics.paired_interval(ours, theirs, asked, resamples=args.resamples, seed=args.seed)
    return row


def _print_xquad(title: str, rows: Sequence[dict[str, Any]]) -> None:
    columns = ("system", "survival", "scc - system [95 %]", "mean run", "negations", "budget used", "s / 1,000 tokens")
    lines = []
    for row in rows:
        low, high = row.get("interval", (0.0, 0.0))
        difference = f"{row['difference']:+.3f} [{low:+.3f}, {high:+.3f}]" if "interval" in row else ""
        lines.append((row["system"], f"{row['survival']:.3f}", difference, *_common(row)))
    print_table(title, columns, lines)


def _common(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{row['mean_run']:.2f}",
        f"{row['negations']:.3f}",
        f"{row['budget_used']:.1%}",
        f"{row['seconds_per_1000']:.4f}",
    )


def qmsum_part(args: argparse.Namespace, count: Count) -> list[dict[str, Any]]:
    meetings = read_qmsum(args.qmsum)
    turns = [line for meeting in meetings for line in meeting.text.splitlines() if line.strip()]
    sizes = [count(meeting.text) for meeting in meetings]
    tables = []
    for rate in args.rates:
        budgets = [budget_of(meeting.text, rate, count) for meeting in meetings]
        child = _in_child([meeting.text for meeting in meetings], budgets, args)
        runs = {"scc": (child["outputs"], child["seconds"])}
        for name, system in baselines(count, turns, args.seed).items():
            runs[name] = _timed(system, meetings, budgets)
        rows = [_qmsum_row(name, meetings, budgets, *run, count) for name, run in runs.items()]
        rows[0].update(peak_mb=child["peak_mb"], loaded_mb=child["loaded_mb"])
        title = f"{args.qmsum.name}: {len(meetings)} meetings of {min(sizes):,} to {max(sizes):,} tokens"
        _print_qmsum(f"{title}, {rate:.0%} of {args.tokenizer} tokens", rows)
        print(f"scc's memory: {child['loaded_mb']:.0f} MB with the model loaded, before the first meeting")
        tables.append({"set": "qmsum", "rate": rate, "meetings": len(meetings), "systems": rows})
    return tables


def _in_child(texts: Sequence[str], budgets: Sequence[int], args: argparse.Namespace) -> dict[str, Any]:
    """scc in a process of its own, whose peak is nobody else's."""
    job = {"texts": texts, "budgets": budgets, "tokenizer": args.tokenizer, "model": args.model}
    done = subprocess.run([sys.executable, str(CHILD)], input=json.dumps(job), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"error: scc failed on the meetings, exit code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _timed(system: System, meetings: Sequence[Meeting], budgets: Sequence[int]) -> tuple[list[str], list[float]]:
    outputs, seconds = [], []
    for meeting, budget in zip(meetings, budgets, strict=True):
        began = time.perf_counter()
        outputs.append(system(meeting.text, budget))
        seconds.append(time.perf_counter() - began)
    return outputs, seconds


def _qmsum_row(
    name: str,
    meetings: Sequence[Meeting],
    budgets: Sequence[int],
    outputs: Sequence[str],
    seconds: Sequence[float],
    count: Count,
) -> dict[str, Any]:
    outcomes = []
    for meeting, budget, output, took in zip(meetings, budgets, outputs, seconds, strict=True):
        hits = answer_words_found(meeting, output)
        outcomes.append(measure(meeting.text, output, hits, budget=budget, count=count, seconds=took, system=name))
    return {"system": name, **asdict(summarise(outcomes))}


def _print_qmsum(title: str, rows: Sequence[dict[str, Any]]) -> None:
    columns = ("system", "answer words", "seconds", "peak MB", "mean run", "negations", "budget used")
    lines = [
        (
            row["system"],
            f"{row['survival']:.3f}",
            f"{row['seconds']:.2f}",
            f"{row['peak_mb']:.0f}" if "peak_mb" in row else "",
            *_common(row)[:-1],
        )
        for row in rows
    ]
    print_table(title, columns, lines)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--xquad", type=Path, help="SQuAD v1.1 JSON, such as xquad.en.json")
    parser.add_argument("--qmsum", type=Path, help="JSONL with text and queries of each meeting")
    parser.add_argument("--query", action="store_true", help="compress for each question by itself")
    parser.add_argument("--articles", choices=("even", "odd", "all"), default="even")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.7, 0.5, 0.33])
    parser.add_argument("--model", help="a run of scc train --backend extractive; default: embedded")
    parser.add_argument("--tokenizer", default="o200k_base")
    add_json(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=2000, help="of the bootstrap")
    args = parser.parse_args(argv)
    if args.xquad is None and args.qmsum is None:
        parser.error("name at least one of --xquad and --qmsum")
    return args


def main() -> None:
    args = parse_arguments()
    count = token_counter(args.tokenizer).count
    head = heading(model_folder(args.model) if args.model else EMBEDDED)
    print_heading(head)
    parts: list[tuple[Path | None, Callable[[argparse.Namespace, Count], list[dict[str, Any]]]]]
    parts = [(args.xquad, xquad_part), (args.qmsum, qmsum_part)]
    if args.query:
        import query_survival  # which imports this module

        parts = [(args.xquad, query_survival.xquad_part), (args.qmsum, query_survival.qmsum_part)]
    tables = [table for path, part in parts if path is not None for table in part(args, count)]
    write_figures(args.json, head, tables=tables)


if __name__ == "__main__":
    main()
