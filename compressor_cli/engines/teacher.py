"""The embedded engine as a teacher: free, offline, good for a dry run of a pipeline. Its rows say who made them."""

from __future__ import annotations

import asyncio
import json
import time

from compressor_cli import __version__
from compressor_cli.chat import Chat, Note
from compressor_cli.chat.batch import BatchChat
from compressor_cli.chat.batch_meter import BatchMeter
from compressor_cli.chat.batch_service import BatchService
from compressor_cli.chat.batches import Batches
from compressor_cli.chat.cache import ReplyCache
from compressor_cli.chat.clients import Limiters, open_chat
from compressor_cli.chat.metered import Metered, price_of
from compressor_cli.core.prices import Prices
from compressor_cli.core.seeds import CLOSE, OPEN
from compressor_cli.core.spend import Ledger
from compressor_cli.engines.compress import compress
from compressor_cli.errors import BadRequestError, SccError, UsageError
from compressor_cli.records import ChatReply, ChatRequest, Usage
from compressor_cli.settings import Settings

NAME = "embedded"


class EmbeddedTeacher:
    """Compresses what the last message holds between the marks of a source."""

    name = NAME

    async def ask(self, request: ChatRequest) -> ChatReply:
        """Raises UsageError where no compression is asked for, BadRequestError for a text that cannot be compressed."""
        content = request.messages[-1].content
        start, end = content.find(OPEN), content.rfind(CLOSE)
        properties = tuple((request.schema or {}).get("properties", ()))
        if start < 0 or end < start or properties not in ((), ("compressed",)):
            raise UsageError("the embedded teacher compresses texts and does nothing else", hint="name another --model")
        began = time.perf_counter()
        try:
            receipt = await asyncio.to_thread(compress, content[start + len(OPEN) : end])
        except SccError as exc:
            raise BadRequestError(str(exc), hint=exc.hint) from None
        text = json.dumps({"compressed": receipt.compressed}) if properties else receipt.compressed
        usage = Usage(receipt.tokens_in, receipt.tokens_out)
        seconds = round(time.perf_counter() - began, 6)
        return ChatReply(text, f"{NAME}-{__version__}", None, "end", usage, seconds, cost_usd=0.0)

    async def aclose(self) -> None:
        pass


def _embedded(model: str) -> EmbeddedTeacher:
    if model:
        raise UsageError(f"{NAME}:{model}: there is one embedded engine", hint=f"its name is {NAME}")
    return EmbeddedTeacher()


def open_teacher(
    name: str,
    settings: Settings,
    ledger: Ledger,
    prices: Prices,
    *,
    command: str,
    note: Note,
    limiters: Limiters,
    batches: Batches | None = None,
) -> Chat:
    """A model by its name, with its retries, its cache, its fallback and its price; or the embedded engine.

    With `batches`, which is for few providers, requests go there at the lower price.
    """
    free = settings.spend.allow_unpriced

    def meter(chat: Chat) -> Chat:
        return Metered(chat, ledger, prices, command=command, allow_unpriced=free)

    def batch(service: BatchService, cache: ReplyCache | None) -> Chat:
        assert batches is not None
        price = price_of(service.name, ledger, prices, allow_unpriced=free)
        return BatchChat(service, batches, BatchMeter(ledger, price, command=command), settings.chat, note, cache)

    return open_chat(
        name,
        settings.chat,
        note,
        meter=meter,
        limiters=limiters,
        others={NAME: _embedded},
        batch=None if batches is None else batch,
    )
