"""Generation in the Tinker cloud: the SDK's sampling client, many prompts in flight."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from compressor_cli.backends import BACKENDS
from compressor_cli.backends.tinker.access import access_to, ask_health
from compressor_cli.backends.tinker.check import Model, list_models, require_listed
from compressor_cli.backends.tinker.connection import Connection, connected
from compressor_cli.backends.tinker.failures import AGAIN, is_of_one_request, told
from compressor_cli.backends.tinker.sampled import Sampled, find_sampled
from compressor_cli.backends.tinker.session import open_service
from compressor_cli.core.chat_prompts import ChatPrompts, Encoded, chat_prompts
from compressor_cli.core.chat_tokenizer import load_chat_tokenizer
from compressor_cli.core.generation import Generated, Generator, ModelSource, Prompt, Sampling
from compressor_cli.core.stopping import Stop
from compressor_cli.errors import MissingExtraError, SccError

Landed = tuple[Encoded, "Future[Any]", float]  # the last is the seconds that it took


def open_generator(source: ModelSource, *, tell: Callable[[str], None] = lambda message: None) -> Generator:
    """`tell` gets what the SDK logs, and that an answer takes long. Raises SccError for what is missing or refused."""
    if missing := BACKENDS["tinker"].missing_packages():
        raise MissingExtraError(missing[0], "tinker")
    return _TinkerGenerator(source, tell)


class _TinkerGenerator:
    """Holds a session at the server, and what the SDK logs, until `close`."""

    def __init__(self, source: ModelSource, tell: Callable[[str], None]) -> None:
        sampled = find_sampled(source)
        self.name = sampled.name
        self._batch_size = source.batch_size
        access = access_to(source.base_url)
        ask_health(access)
        with ExitStack() as stack, _without_checkpoints():
            self._connection = stack.enter_context(connected(access, tell))
            models = list_models(self._connection)
            if sampled.model is not None:
                require_listed(sampled.model, [model.name for model in models if model.name], access.url)
            service = stack.enter_context(open_service(self._connection, Stop()))
            self._client = _open_client(self._connection, service, sampled)
            base = self._client.get_base_model()
            tokenizer = load_chat_tokenizer(sampled.tokenizer or base, token=source.token)
            self._prompts = _within(chat_prompts(tokenizer), base, models)
            self._open = stack.pop_all()

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Generated]]:
        """Raises what would be the same for every prompt: a refused key, a session or a server that is gone."""
        asked, refused = self._prompts.encode(prompts)
        yield from refused
        landed: queue.SimpleQueue[Landed] = queue.SimpleQueue()
        waiting, in_flight = iter(asked), dict[int, Future[Any]]()
        try:
            while True:
                while len(in_flight) < self._batch_size and (one := next(waiting, None)) is not None:
                    in_flight[one.place] = self._send(one, sampling, landed)
                if not in_flight:
                    return
                with _without_checkpoints():
                    one, future, seconds = self._connection.first(landed, "an answer")
                    del in_flight[one.place]
                    answer = self._answer(one, future, seconds)
                yield one.place, answer
        finally:
            for future in in_flight.values():
                future.cancel()

    def close(self) -> None:
        self._open.close()

    def _send(self, one: Encoded, sampling: Sampling, landed: queue.SimpleQueue[Landed]) -> Future[Any]:
        import tinker

        params = tinker.SamplingParams(
            max_tokens=one.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            stop=sorted(self._prompts.ends) or None,  # none at all would be no end but `max_tokens`
        )
        began = time.perf_counter()
        prompt = tinker.ModelInput.from_ints(one.tokens)
        future: Future[Any] = self._client.sample(prompt=prompt, num_samples=1, sampling_params=params).future()
        future.add_done_callback(lambda done: landed.put((one, done, time.perf_counter() - began)))
        return future

    def _answer(self, one: Encoded, future: Future[Any], seconds: float) -> Generated:
        try:
            found = future.result().sequences[0]
        except (Exception, CancelledError) as exc:
            error = told(exc, self._connection.access.url, self._connection.access.key)
            if is_of_one_request(exc):
                return Generated("", 0, 0, False, 0.0, error=str(error))
            raise error from None
        tokens = found.tokens
        end = next((at for at, token in enumerate(tokens) if token in self._prompts.ends), None)
        truncated = end is None and found.stop_reason == "length"
        answer = self._prompts.answer(one, tokens[:end], truncated=truncated, seconds=seconds)
        return replace(answer, cost_usd=None)


def _open_client(connection: Connection, service: Any, sampled: Sampled) -> Any:
    """Without the SDK's outer retries: these go on for hours. The inner ones go on for minutes, as in training."""
    from tinker.lib.retry_handler import RetryConfig

    pending = connection.call(
        lambda: service.create_sampling_client(
            model_path=sampled.path, base_model=sampled.model, retry_config=RetryConfig(enable_retry_logic=False)
        ),
        "the server to load the model",
    )
    return connection.wait(pending, "the server to load the model")


def _within(prompts: ChatPrompts, base: str, models: Sequence[Model]) -> ChatPrompts:
    """The server may take fewer tokens than the model has positions for."""
    context = next((model.context for model in models if model.name == base), None)
    known = [positions for positions in (prompts.positions, context) if positions is not None]
    return replace(prompts, positions=min(known, default=None))


@contextmanager
def _without_checkpoints() -> Iterator[None]:
    """Of hints: generation has none to go on from."""
    try:
        yield
    except SccError as exc:
        if exc.hint:
            exc.hint = exc.hint.replace(AGAIN, "try again")
        raise
