"""From the name of a model to a chat with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from importlib import import_module
from types import MappingProxyType

from compressor_cli.chat import Chat, Note, once
from compressor_cli.chat.batch_service import BatchService
from compressor_cli.chat.cache import CachedChat, ReplyCache
from compressor_cli.chat.fallback import FallbackChat
from compressor_cli.chat.retry import Limiter, RetryingChat
from compressor_cli.chat.service import Service
from compressor_cli.errors import MissingExtraError, MissingKeyError, UsageError
from compressor_cli.settings import ChatSettings, key_variables, load_endpoints, load_keys

PACKAGES = {"anthropic": "anthropic", "openai": "openai", "google": "google.genai", "local": "openai"}
BATCHES = ("anthropic", "openai")
Opener = Callable[[str], Chat]
Limiters = MutableMapping[str, Limiter]
Batcher = Callable[[BatchService, ReplyCache | None], Chat]


def open_chat(
    name: str,
    settings: ChatSettings,
    note: Note,
    *,
    meter: Callable[[Chat], Chat] = lambda chat: chat,
    limiters: Limiters | None = None,
    others: Mapping[str, Opener] = MappingProxyType({}),
    batch: Batcher | None = None,
) -> Chat:
    """With its retries, its cache and its fallback; nothing is sent before it is asked.

    `meter` is wrapped around the client, inside of the retries. `limiters` is shared by those who ask the same model
    beside each other. `others` opens providers that are none, such as `embedded`, from what stands after the colon.
    `batch`, where given, takes the place of meter and retries, and of every provider that has no batches.
    """
    note = once(note)
    limiters = {} if limiters is None else limiters
    if settings.fallback == name:
        raise UsageError(f"{name} cannot be its own fallback")
    openers = [
        _batch_opener(model, settings, note, batch)
        if batch
        else _opener(model, settings, note, meter, limiters, others)
        for model in (name, settings.fallback)
        if model is not None
    ]
    first, *second = [opened() for opened in openers]
    return FallbackChat(first, second[0], note) if second else first


def service_of(name: str, settings: ChatSettings, *, needs_key: bool = True) -> Service:
    """Raises UsageError for a name or base URL that is none, MissingKeyError where a key is needed and absent."""
    provider, _, model = name.partition(":")
    if provider not in PACKAGES or not model:
        forms = ", ".join(f"{known}:MODEL" for known in PACKAGES)
        raise UsageError(f"{name!r} names no model", hint=f"the forms are {forms}")
    url = settings.base_url if provider == "local" else getattr(load_endpoints(), provider)
    if provider == "local" and not url:
        raise UsageError(f"{name}: where is it?", hint="give its --base-url, such as http://localhost:8080/v1")
    if url is not None and not url.startswith(("http://", "https://")):
        raise UsageError(f"{name}: the base URL must start with http:// or https://")
    secret, variable = getattr(load_keys(), provider), key_variables(provider)
    key = secret.get_secret_value().strip() if secret else ""
    if not key and needs_key and provider != "local":
        raise MissingKeyError(provider, variable)
    if not key.isascii() or any(char.isspace() or not char.isprintable() for char in key):
        raise UsageError(f"{variable} has characters in it that no key has")
    return Service(provider, model, url, key, variable, settings.timeout)


def need_batches(name: str) -> None:
    """Raises UsageError for a model whose provider has none here."""
    if name.partition(":")[0] not in BATCHES:
        forms = " and ".join(f"{known}:MODEL" for known in BATCHES)
        raise UsageError(f"{name}: no batches", hint=f"--batch is for {forms}")


def open_cache(settings: ChatSettings, note: Note) -> ReplyCache | None:
    if settings.no_cache:
        return None
    _need("diskcache")
    return ReplyCache(settings.cache_folder, settings.cache_megabytes, note)


def _opener(
    name: str,
    settings: ChatSettings,
    note: Note,
    meter: Callable[[Chat], Chat],
    limiters: Limiters,
    others: Mapping[str, Opener],
) -> Callable[[], Chat]:
    """Whatever is wrong is said here, before anything is open."""
    provider, _, rest = name.partition(":")
    if provider in others:
        return lambda: others[provider](rest)
    service = service_of(name, settings)
    _need(PACKAGES[provider])

    def opened() -> Chat:
        limiter = limiters.setdefault(name, Limiter(settings.concurrency))
        chat = RetryingChat(meter(_client(service, note)), limiter, settings)
        cache = open_cache(settings, note)
        return chat if cache is None else CachedChat(chat, cache, service.url)

    return opened


def _batch_opener(name: str, settings: ChatSettings, note: Note, batch: Batcher) -> Callable[[], Chat]:
    need_batches(name)
    service = service_of(name, settings)
    _need(PACKAGES[service.provider])

    def opened() -> Chat:
        cache = open_cache(settings, note)
        chat = batch(_batch_service(service, note), cache)
        return chat if cache is None else CachedChat(chat, cache, service.url)

    return opened


def _batch_service(service: Service, note: Note) -> BatchService:
    if service.provider == "anthropic":
        from compressor_cli.chat.anthropic import AnthropicChat
        from compressor_cli.chat.batch_anthropic import AnthropicBatches

        return AnthropicBatches(AnthropicChat(service, note))
    from compressor_cli.chat.batch_openai import OpenAIBatches
    from compressor_cli.chat.openai import OpenAIChat

    return OpenAIBatches(OpenAIChat(service, note))


def _client(service: Service, note: Note) -> Chat:
    if service.provider == "anthropic":
        from compressor_cli.chat.anthropic import AnthropicChat

        return AnthropicChat(service, note)
    if service.provider == "google":
        from compressor_cli.chat.google import GoogleChat

        return GoogleChat(service, note)
    from compressor_cli.chat.openai import OpenAIChat

    return OpenAIChat(service, note)


def _need(package: str) -> None:
    try:
        import_module(package)
    except ImportError:
        raise MissingExtraError(package, "providers") from None
