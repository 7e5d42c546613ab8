"""What the commands that ask models share: their options, how models are opened, and how a run ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compressor_cli.cli.common import say
from compressor_cli.errors import PartialError, QuotaError, SccError, UsageError

if TYPE_CHECKING:
    from compressor_cli.chat import Chat
    from compressor_cli.chat.batches import Batches
    from compressor_cli.core.spend import Ledger
    from compressor_cli.settings import Settings

ConcurrencyOption = Annotated[
    int | None, typer.Option(min=1, help="Requests at once to a model; 8 if absent.", show_default=False)
]
FallbackOption = Annotated[
    str | None, typer.Option(help="Model that answers when the first one cannot.", show_default=False)
]
BaseUrlOption = Annotated[
    str | None, typer.Option(help="Address of local: models, such as http://localhost:8080/v1.", show_default=False)
]
NoCacheOption = Annotated[
    bool | None, typer.Option("--no-cache", help="Ask again for what was answered before.", show_default=False)
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        metavar="USD", help="Never spend more than this, all runs of the ledger together.", show_default=False
    ),
]
PricesOption = Annotated[
    Path | None, typer.Option(help="YAML file of prices, before those that come with scc.", show_default=False)
]
AllowUnpricedOption = Annotated[
    bool | None,
    typer.Option("--allow-unpriced", help="Under a budget, ask models without a known price too.", show_default=False),
]
LedgerOption = Annotated[
    Path | None, typer.Option(help="File of costs; costs.jsonl beside the output if absent.", show_default=False)
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with an output that was begun.")]
RetryErrorsOption = Annotated[bool, typer.Option("--retry-errors", help="With --resume, ask again for what failed.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Tell what would be asked, its tokens and cost; send nothing.")
]
BatchOption = Annotated[
    bool,
    typer.Option("--batch", help="Ask in batches of Anthropic or OpenAI: at a lower price, within a day."),
]
MOST_AT_ONCE = 50_000  # rows, in batches
OnEvent = Callable[[Mapping[str, Any]], None]


def rows_at_once(settings: Settings, concurrency: int | None, *, batch: bool) -> int:
    """`concurrency` is that of the command line. Raises UsageError where batches leave no meaning to it."""
    if batch and concurrency is not None:
        raise UsageError("--concurrency says nothing with --batch, which asks for all rows at once")
    return MOST_AT_ONCE if batch else settings.chat.concurrency


@contextmanager
def opened_chats(
    names: Sequence[str], settings: Settings, output: Path, *, command: str, on_event: OnEvent, batch: bool = False
) -> Iterator[tuple[dict[str, Chat], Ledger, Batches | None]]:
    """Models by name, all under one ledger, and the batches of this output if it is asked for in batches."""
    from compressor_cli.chat.batches import Batches, refuse_open
    from compressor_cli.core.batches import batches_path
    from compressor_cli.core.prices import load_prices, nano
    from compressor_cli.core.spend import LEDGER, Ledger
    from compressor_cli.engines.teacher import open_teacher

    spend = settings.spend
    budget = None if spend.budget_usd is None else nano(spend.budget_usd)
    prices, limiters = load_prices(spend.prices), {}  # type: ignore[var-annotated]

    def note(message: str) -> None:
        on_event({"message": message})

    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(spend.ledger or output.parent / LEDGER, budget=budget, on_event=on_event))
        batches = stack.enter_context(Batches(batches_path(output))) if batch else None
        if batches is None:
            refuse_open(batches_path(output))
        yield (
            {
                name: open_teacher(
                    name, settings, ledger, prices, command=command, note=note, limiters=limiters, batches=batches
                )
                for name in dict.fromkeys(names)
            },
            ledger,
            batches,
        )


GO_ON = "--resume goes on from here, --resume --retry-errors asks for failed rows again"


def finish(stopped: SccError | int | None, unfinished: str | None, hint: str = GO_ON) -> None:
    """Ends with the exit code of what stopped the run; a run that is not finished never ends with 0."""
    if isinstance(stopped, int):
        typer.echo("interrupted; --resume goes on from here", err=True)
        raise typer.Exit(128 + stopped)
    if isinstance(stopped, QuotaError):
        raise PartialError(str(stopped), hint=stopped.hint)
    if stopped is not None:
        raise stopped
    if unfinished:
        raise PartialError(unfinished, hint=hint)


def spent_in(ledger: Ledger) -> dict[str, Any]:
    """In dollars, of all its runs; what is unsettled may have been charged."""
    from compressor_cli.core.prices import NANO

    amounts = {"usd_settled": ledger.settled / NANO, "usd_unsettled": ledger.unsettled / NANO}
    return {"path": str(ledger.path), **amounts, "budget_usd": ledger.budget and ledger.budget / NANO}


def tell_spent(ledger: Ledger) -> None:
    from compressor_cli.core.spend import told

    if ledger.settled or ledger.unsettled:
        unsettled = f", ${told(ledger.unsettled)} without a known outcome" if ledger.unsettled else ""
        budget = "" if ledger.budget is None else f" of ${told(ledger.budget)}"
        say(f"{ledger.path}: ${told(ledger.settled)}{budget} spent{unsettled}")


def told_reasons(reasons: Mapping[str, int]) -> str:
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return "rejected for " + ", ".join(f"{reason} {count:,}" for reason, count in ordered)


def cost_cell(usd: float | None) -> str:
    return "unknown" if usd is None else f"${usd:,.2f}" if usd >= 100 else f"${usd:,.4f}"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], footer: Sequence[str] = ()) -> None:
    """The first column is text, the others are figures."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for n, name in enumerate(columns):
        table.add_column(name, justify="right" if n else "left", no_wrap=bool(n), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    if footer:
        table.add_section()
        table.add_row(*map(Text, footer))
    console = Console()
    for space in (1, 0):  # between columns, beside one that is always there
        table.padding = (0, space, 0, 0)
        width = Console(width=10_000).measure(table).maximum
        if width <= console.width:
            break
    if not console.is_terminal:  # a pipe has no width to break cells at
        console.width = width
    console.print(table)
