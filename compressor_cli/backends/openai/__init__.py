"""Models behind any server that speaks OpenAI's interface: vLLM with LoRA, `mlx_lm server`, OpenAI itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from queue import SimpleQueue
from typing import Any

from compressor_cli.chat import Chat, Note
from compressor_cli.chat.clients import open_chat
from compressor_cli.core.background import Background
from compressor_cli.core.generation import Generated, Generator, ModelSource, Prompt, Sampling
from compressor_cli.errors import ChatError, QuotaError, UsageError
from compressor_cli.records import ChatMessage, ChatRequest
from compressor_cli.settings import ChatSettings

Done = tuple[int, Generated] | BaseException


def open_generator(
    source: ModelSource,
    *,
    settings: ChatSettings | None = None,
    note: Note = lambda text: None,
    meter: Callable[[Chat], Chat] = lambda chat: chat,
) -> Generator:
    """`model` is the name under which the server has it, an adapter's too. Without `base_url` it is OpenAI's own.

    Answers never come from the cache: how long they take is measured. Raises UsageError, MissingKeyError or
    MissingExtraError before anything is sent.
    """
    if not source.model:
        raise UsageError(
            "--model is needed with --backend openai: the name under which the server has the model, or its adapter"
        )
    name = f"{'local' if source.base_url else 'openai'}:{source.model}"
    plain = (settings or ChatSettings()).model_copy(
        update={
            "no_cache": True,
            "fallback": None,
            "base_url": source.base_url,
            "concurrency": source.batch_size,
        }
    )
    return _OpenAIGenerator(open_chat(name, plain, note, meter=meter), source.batch_size)


class _OpenAIGenerator:
    def __init__(self, chat: Chat, at_once: int) -> None:
        self.name = chat.name
        self._chat, self._at_once = chat, at_once
        self._background = Background()

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Generated]]:
        """Raises what would be the same for every prompt: a wrong key, a used-up quota or budget."""
        done: SimpleQueue[Done] = SimpleQueue()
        places = count()

        async def worker() -> None:
            while (place := next(places)) < len(prompts):
                try:
                    done.put((place, await self._answer(prompts[place], sampling)))
                except BaseException as exc:
                    done.put(exc)
                    raise

        workers = [self._background.submit(worker()) for _ in range(min(self._at_once, len(prompts)))]
        try:
            for _ in prompts:
                found = done.get()
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            for one in workers:
                one.cancel()

    async def _answer(self, prompt: Prompt, sampling: Sampling) -> Generated:
        try:
            reply = await self._chat.ask(_request(prompt, sampling))
        except QuotaError:
            raise
        except ChatError as exc:
            return Generated("", 0, 0, False, 0.0, error=str(exc))
        return Generated(
            reply.text,
            reply.usage.input_tokens,
            reply.usage.output_tokens,
            reply.stop == "length",
            reply.seconds,
            cost_usd=reply.cost_usd,
        )

    def close(self) -> None:
        self._background.submit(self._chat.aclose()).result()
        self._background.close()


def _request(prompt: Prompt, sampling: Sampling) -> ChatRequest:
    """Raises ChatError for a conversation that the clients do not carry."""
    messages = [dict(message) for message in prompt.messages]
    system = messages.pop(0)["content"] if messages[0]["role"] == "system" else None
    if any(message["role"] not in ("user", "assistant") or message.get("tool_calls") for message in messages):
        raise ChatError("only system, user and assistant messages without calls can be sent to a server")
    return ChatRequest(
        tuple(ChatMessage(_role(message), message["content"]) for message in messages),
        system,
        prompt.max_tokens,
        sampling.temperature,
        sampling.seed,
        sampling.top_p if sampling.top_p < 1 else None,
    )


def _role(message: dict[str, Any]) -> Any:
    return message["role"]
