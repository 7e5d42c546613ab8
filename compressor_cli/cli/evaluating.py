"""What `scc eval` does once its flags are read."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressor_cli.cli.common import print_json, say
from compressor_cli.cli.evaluation_output import print_estimate, print_speed, print_summary
from compressor_cli.cli.spending import OnEvent, finish, opened_chats, tell_spent
from compressor_cli.errors import GateError, UsageError

if TYPE_CHECKING:
    from compressor_cli.chat import Chat
    from compressor_cli.core.adapters import Adapter
    from compressor_cli.core.evaluation_rows import Asking, EvalRow
    from compressor_cli.core.generation import Generator, ModelSource
    from compressor_cli.core.spend import Ledger
    from compressor_cli.settings import Settings

_TRAINED_BY = {"extractive": "embedded"}  # a run of this backend is a model of that one

_OF_JUDGES = {"--concurrency", "--no-cache"}


@dataclass(frozen=True)
class Request:
    """The flags that are no settings. `flags` are those given, of the ones that do not fit every backend."""

    output: Path | None
    adapter: Path | None
    data: Path | None
    hf_dataset: str | None
    limit: int | None
    resume: bool
    retry_errors: bool
    fail_under: str | None
    benchmark: bool
    dry_run: bool
    as_json: bool
    flags: set[str]


@dataclass(frozen=True)
class Model:
    """What is evaluated. `asking` is None where the rows say how."""

    backend: str
    source: ModelSource
    adapter: Adapter | None
    asking: Asking | None

    @property
    def name(self) -> str | None:
        return self.source.model or (self.adapter.card or {}).get("model") if self.adapter else self.source.model

    def identified(self) -> dict[str, Any]:
        """What tells it from other models, and how it is asked."""
        from compressor_cli.core.models import model_identity

        folder = Path(self.source.model) if self.source.model else None
        asked = {"system": self.asking.system, "prefix": self.asking.prefix} if self.asking else None
        return {
            "backend": self.backend,
            "model": self.name,
            "adapter": _address(self.source.adapter) if self.source.adapter else None,
            **(model_identity(folder) if folder and folder.is_dir() else {}),
            **({"adapter_sha256": self.adapter.identity()} if self.adapter else {}),
            "prompt": asked,
        }


def run(settings: Settings, request: Request) -> None:
    from compressor_cli.cli.progress import rows_progress
    from compressor_cli.core.evaluation import read_gates

    gates = read_gates(request.fail_under)
    if any(gate.measure == "equivalence" for gate in gates) and not settings.eval.judge:
        raise UsageError("--fail-under equivalence needs a --judge")
    model = _model(settings, request)
    if request.dry_run:
        _dry_run(settings, request, model)
        return
    if request.benchmark:
        _benchmark(settings, request, model)
        return
    if request.output is None:
        raise UsageError("--output is needed", hint="for example --output eval/first.jsonl")
    from compressor_cli.core.tokens import token_counter
    from compressor_cli.engines.generators import fetch_weights
    from compressor_cli.stages.evaluate import check_target, evaluate

    check_target(request.output)
    token_counter(settings.eval.tokenizer)  # what is wrong for every row is refused before the first
    fetch_weights(model.backend, model.source)
    with rows_progress("evaluating") as on_event:
        rows = _rows(settings, request, model, on_event)
        with chats(settings.eval.judge, settings, request.output, "eval", on_event, paid=model.backend == "openai") as (
            judges,
            ledger,
        ):
            summary = evaluate(
                settings.eval,
                rows,
                request.output,
                opener(settings, model, ledger, "eval", on_event),
                model.identified(),
                judges=judges,
                validation=settings.validation,
                at_once=settings.chat.concurrency,
                resume=request.resume,
                retry_errors=request.retry_errors,
                on_event=on_event,
            )
            if ledger is not None:
                tell_spent(ledger)
    if request.as_json:
        print_json(summary.as_dict())
    else:
        print_summary(summary)
    if summary.stopped is None:
        overall = summary.groups["overall"]
        if missed := [gate.told(overall) for gate in gates if not gate.holds(overall)]:
            raise GateError(f"--fail-under: {'; '.join(missed)}")
    finish(summary.stopped, summary.unfinished)


def model_of(settings: Settings, *, backend: str | None, model: str | None, adapter: Path | None) -> Model:
    """Raises UsageError where nothing says which model on which backend."""
    from compressor_cli.core.adapters import find_adapter
    from compressor_cli.core.generation import ModelSource
    from compressor_cli.settings import load_keys

    kept = adapter is not None and adapter.parts[:1] == ("tinker:",)  # weights at Tinker, and no folder
    found = find_adapter(adapter) if adapter and not kept else None
    trained = "tinker" if kept else found.backend if found else None
    backend = backend or (trained and _TRAINED_BY.get(trained, trained))
    if backend is None:
        raise UsageError(
            "--backend is needed",
            hint="local, tinker, torch, openai or embedded; a run that --adapter names knows its own",
        )
    if kept and backend != "tinker":
        raise UsageError(
            f"{_address(adapter)} is kept at Tinker, which --backend {backend} does not ask",
            hint=f"--backend tinker, or scc export {_address(adapter)} --to DIR and --adapter DIR",
        )
    if backend == "embedded":
        model = None
    elif (model is None and adapter is None) or (backend == "openai" and model is None and not (found and found.card)):
        raise UsageError(f"--model is needed with --backend {backend}")
    key = load_keys().huggingface
    source = ModelSource(
        model=model,
        adapter=adapter if kept else found.path if found else None,
        batch_size=settings.eval.batch_size,
        base_url=settings.chat.base_url or (settings.cloud.base_url if backend == "tinker" else None),
        token=key.get_secret_value() if key else None,
    )
    return Model(backend, source, found, None if backend == "embedded" else _asking(source, found))


def _asking(source: ModelSource, found: Adapter | None) -> Asking | None:
    """As the run says it, or the folder that was exported from one."""
    from compressor_cli.core.adapters import find_adapter

    if found is None and source.model and Path(source.model).is_dir():
        found = find_adapter(Path(source.model))
    return found.asking if found else None


def _address(adapter: Path | None) -> str:
    """A Path has taken one of the slashes of tinker://."""
    return re.sub(r"^tinker:/+", "tinker://", str(adapter))


def _model(settings: Settings, request: Request) -> Model:
    asked = settings.eval
    found = model_of(settings, backend=asked.backend, model=asked.model, adapter=request.adapter)
    idle = request.flags & _idle(found.backend, benchmark=request.benchmark, judged=bool(asked.judge))
    if idle:
        judges = " without a --judge" if idle <= _OF_JUDGES else ""
        raise UsageError(f"{' and '.join(sorted(idle))} says nothing to --backend {found.backend}{judges}")
    return found


def _idle(backend: str, *, benchmark: bool, judged: bool) -> set[str]:
    """Flags that would do nothing."""
    idle = set() if judged else {*_OF_JUDGES}
    if not judged and backend in ("local", "torch", "embedded"):
        idle.add("--base-url")
    if backend == "embedded":
        idle |= {"--temperature", "--top-p", "--model", *(() if benchmark else ("--batch-size",))}
    return idle


def opener(
    settings: Settings, model: Model, ledger: Ledger | None, command: str, on_event: OnEvent
) -> Callable[[], Generator]:
    """A server of a provider costs money, and is metered; Tinker tells that it is waited for."""
    from compressor_cli.engines.generators import open_generator

    def note(message: str) -> None:
        on_event({"message": message})

    if model.backend == "tinker":
        return lambda: open_generator(model.backend, model.source, tell=note)
    if ledger is None or model.backend != "openai":
        return lambda: open_generator(model.backend, model.source)
    from compressor_cli.chat.metered import Metered
    from compressor_cli.core.prices import load_prices

    prices, free = load_prices(settings.spend.prices), settings.spend.allow_unpriced

    def meter(chat: Chat) -> Chat:
        return Metered(chat, ledger, prices, command=command, allow_unpriced=free)

    return lambda: open_generator(model.backend, model.source, settings=settings.chat, note=note, meter=meter)


def _dry_run(settings: Settings, request: Request, model: Model) -> None:
    from compressor_cli.stages.evaluate.estimate import estimate_eval

    if request.benchmark:
        raise UsageError("--dry-run is for an eval, not for --benchmark")
    rows = _rows(settings, request, model, lambda event: say(event["message"]) if "message" in event else None)
    paid = f"openai:{model.source.model}" if model.backend == "openai" and not model.source.base_url else None
    found = estimate_eval(settings.eval, settings.spend, rows, request.output, paid)
    if request.as_json:
        print_json(found.as_dict())
    else:
        print_estimate(found)


def _rows(settings: Settings, request: Request, model: Model, on_event: OnEvent) -> list[EvalRow]:
    from compressor_cli.cli.datasource import find_data
    from compressor_cli.core.evaluation_rows import read_eval_rows, split_file

    def tell(message: str) -> None:
        on_event({"message": message})

    if (
        model.adapter is not None
        and model.adapter.card is None
        and model.asking is None
        and model.backend != "embedded"
    ):
        tell(f"nothing says how {model.source.adapter} was asked in training: the rows say it")
    data = find_data(request.data, request.hf_dataset, settings, tell, doing="evaluating", split="test")
    return read_eval_rows(split_file(data), model.asking, bare=model.backend == "embedded", limit=request.limit)


@contextmanager
def chats(
    judges: Sequence[str], settings: Settings, output: Path, command: str, on_event: OnEvent, *, paid: bool
) -> Iterator[tuple[Mapping[str, Chat], Ledger | None]]:
    """The judges, and the ledger where anything can cost money."""
    for name in judges:
        if name.partition(":")[0] == "embedded":
            raise UsageError("embedded compresses, and judges nothing", hint="--judge anthropic:... or openai:...")
    if not paid and not judges:
        yield {}, None
        return
    with opened_chats(judges, settings, output, command=command, on_event=on_event) as opened:
        found, ledger, _ = opened
        yield found, ledger


def _benchmark(settings: Settings, request: Request, model: Model) -> None:
    from compressor_cli.cli.progress import rows_progress
    from compressor_cli.core.figures import machine
    from compressor_cli.engines.generators import fetch_weights
    from compressor_cli.stages.evaluate.speed import benchmark, write_chart

    output = request.output
    if output is not None and output.suffix not in (".html", ".png"):
        raise UsageError(f"--output {output}: with --benchmark it is a chart", hint="--output speed.html or speed.png")
    if request.resume or request.retry_errors or settings.eval.judge or request.fail_under:
        raise UsageError("--benchmark measures times only: leave out --resume, --retry-errors, --judge, --fail-under")
    fetch_weights(model.backend, model.source)
    with ExitStack() as stack:
        on_event = stack.enter_context(rows_progress("measuring"))
        rows = _rows(settings, request, model, on_event)
        place, paid = output or Path("speed.html"), model.backend == "openai"
        _, ledger = stack.enter_context(chats((), settings, place, "eval", on_event, paid=paid))
        generator = opener(settings, model, ledger, "eval", on_event)()
        stack.callback(generator.close)
        report = benchmark(settings.eval, rows, generator, machine=machine(), on_event=on_event)
    if output is not None:
        write_chart(report, output)
        say(f"{output}: the chart")
    if request.as_json:
        print_json({**report.as_dict(), "command": shlex.join(["scc", *sys.argv[1:]])})
    else:
        print_speed(report)
