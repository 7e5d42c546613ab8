"""The trained model behind `--engine adapter`: opened once a process, and asked as it was in training."""

from __future__ import annotations

import atexit
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any

from compressor_cli.core.adapters import Adapter, find_adapter
from compressor_cli.core.decoding import build_user_message
from compressor_cli.core.evaluation_rows import Asking
from compressor_cli.core.generation import Generated, Generator, ModelSource, Prompt, Sampling
from compressor_cli.engines.options import Options
from compressor_cli.errors import MissingExtraError, MissingKeyError, SccError, UsageError
from compressor_cli.settings import ChatSettings, load_keys

_REMEMBERED = 4096  # answers: a budget that is searched for asks the same again and again
# Somebody waits, and the embedded engine can take the place of a server that is gone.
_PATIENCE = ChatSettings(attempts=3, timeout=120, retry_total=120)

Wrap = Callable[[Callable[[], Generator]], Generator]
_Key = tuple[str | None, ...]


@dataclass
class Model:
    """`asking` is how prompts of the training data begin."""

    generator: Generator
    asking: Asking
    _answers: OrderedDict[Any, Generated] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def name(self) -> str:
        return self.generator.name

    @property
    def prompt(self) -> str:
        """All that is said before the text."""
        return f"{self.asking.system or ''}\n{self.asking.prefix or ''}"

    def messages(self, text: str) -> tuple[Mapping[str, Any], ...]:
        system = ({"role": "system", "content": self.asking.system},) if self.asking.system else ()
        return (*system, {"role": "user", "content": build_user_message(text, self.asking.prefix)})

    def ask(self, prompts: Sequence[Prompt]) -> list[Generated]:
        """In the order of the prompts, all of which go to the model together. Greedy, so that equal prompts have equal
        answers, and are asked once."""
        keys = [_key(prompt) for prompt in prompts]
        with self._lock:
            known = {key: answer for key in keys if (answer := self._answers.get(key)) is not None}
        new = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}
        asked = list(new)
        found = self.generator.generate(list(new.values()), Sampling()) if new else iter(())
        for at, answer in found:
            known[asked[at]] = answer
            if answer.error is None:
                self._remember(asked[at], answer)
        if missing := sum(key not in known for key in asked):
            raise SccError(f"{self.name} left {missing} of {len(asked)} prompts without an answer")
        return [known[key] for key in keys]

    def _remember(self, key: Any, answer: Generated) -> None:
        with self._lock:
            self._answers[key] = answer
            if len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)


def ready_model(options: Options, wrap: Wrap = lambda opened: opened()) -> Model | str:
    """Or why there is none, where `auto` may go on without. Raises that, where the adapter is asked for."""
    try:
        return open_model(options, wrap)
    except SccError as exc:
        lacking = isinstance(exc, MissingExtraError | MissingKeyError) or not isinstance(exc, UsageError)
        if options.engine == "adapter" or not lacking:
            raise
        return f"{exc}{f' ({exc.hint})' if exc.hint else ''}"


class _Opened:
    """The one model that is open, or what became of opening it; another one takes its place."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._key: _Key | None = None
        self._found: Model | SccError | None = None

    def get(self, options: Options, wrap: Wrap) -> Model:
        key = (
            options.backend,
            *(str(part) if part else None for part in (options.adapter, options.model, options.base_url)),
        )
        with self._lock:
            if key != self._key:
                self.close()
                try:
                    self._found = _open(options, wrap)
                except SccError as exc:
                    self._found = exc
                self._key = key
            if isinstance(self._found, SccError):
                raise self._found
            assert self._found is not None
            return self._found

    def close(self) -> None:
        found, self._found, self._key = self._found, None, None
        if isinstance(found, Model):
            found.generator.close()


_opened = _Opened()
close_model = atexit.register(_opened.close)


def open_model(options: Options, wrap: Wrap = lambda opened: opened()) -> Model:
    """`wrap` gets what opens the generator, where it is not open yet. Raises SccError where it cannot be opened."""
    return _opened.get(options, wrap)


def backend_of(options: Options) -> tuple[str, Adapter | None]:
    """Raises UsageError where nothing says which model on which backend."""
    found = find_adapter(Path(options.adapter)) if options.adapter is not None else None
    trained = found.backend if found else None
    if "extractive" in (trained, options.backend):
        raise UsageError(f"{options.adapter} is a model of the embedded engine", hint=f"--model {options.adapter}")
    backend = options.backend or trained
    if backend is None:
        raise UsageError("--backend is needed: local, torch, tinker or openai", hint="a run of scc train knows its own")
    if options.model is None and (found is None or not found.names_model):
        raise UsageError(f"--model is needed with --backend {backend}", hint="the base of the adapter")
    return backend, found


def _open(options: Options, wrap: Wrap) -> Model:
    from compressor_cli.engines.generators import open_generator

    backend, found = backend_of(options)
    key = load_keys().huggingface
    source = ModelSource(
        model=None if options.model is None else str(options.model),
        adapter=found.path if found else None,
        base_url=options.base_url,
        token=key.get_secret_value() if key else None,
    )
    more = {"settings": _PATIENCE} if backend == "openai" else {}
    told = found
    if found is None and options.model is not None and Path(options.model).is_dir():
        told = find_adapter(Path(options.model))  # a whole model, that an export or a run made
    return Model(wrap(lambda: open_generator(backend, source, **more)), (told and told.asking) or _shipped())


def _shipped() -> Asking:
    text = (files("compressor_cli") / "prompts" / "compress_prose.md").read_text(encoding="utf-8")
    return Asking(text, None)


def _key(prompt: Prompt) -> Any:
    return (*((one["role"], one["content"]) for one in prompt.messages), prompt.max_tokens)
