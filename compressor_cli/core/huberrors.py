"""What `datasets` and `huggingface_hub` raise, said in one line that never holds a token."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from compressor_cli.errors import SccError


def told(exc: Exception, dataset: str, token: str | None, revision: str | None = None) -> SccError:
    """The error to raise instead of `exc`, which may carry the cause several links down its chain."""
    import huggingface_hub
    from huggingface_hub import errors

    httpx = importlib.import_module("huggingface_hub.utils").httpx  # its name differs between versions

    used = token or huggingface_hub.get_token()
    chain = list(_chain(exc))

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(link, kinds) for link in chain)

    endpoint = huggingface_hub.constants.ENDPOINT
    # `datasets` cuts off the cause when it raises this one again.
    if has(errors.GatedRepoError) or " is a gated dataset " in str(exc):
        if used is None:
            return SccError(
                f"dataset {dataset!r} is gated, and no HF_TOKEN is set",
                hint=f"accept its terms at {endpoint}/datasets/{dataset}, then set HF_TOKEN",
            )
        return SccError(
            f"dataset {dataset!r} is gated, and this HF_TOKEN has no access to it",
            hint=f"ask for access at {endpoint}/datasets/{dataset}",
        )
    if has(errors.RevisionNotFoundError):
        return SccError(f"dataset {dataset!r} has no revision {revision!r}")
    if has(errors.RepositoryNotFoundError):
        return SccError(
            f"dataset {dataset!r} was not found on the hub, or is private",
            hint="check the name; a private dataset needs HF_TOKEN" if used is None else "check the name and HF_TOKEN",
        )
    if has(errors.OfflineModeIsEnabled):
        return SccError(f"dataset {dataset!r}: the hub is switched off", hint="unset HF_HUB_OFFLINE")
    if has(httpx.TransportError, ConnectionError, TimeoutError):
        return SccError(
            f"dataset {dataset!r}: the hub cannot be reached ({endpoint})",
            hint="check the network, or give rows from a local folder or file",
        )
    return SccError(f"dataset {dataset!r}: {_one_line(chain, used)}")


def _chain(exc: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = exc
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _one_line(chain: list[BaseException], token: str | None) -> str:
    """The innermost message says what happened where the outermost says only that something did."""
    outer = chain[0]
    cause = next((link for link in chain if type(link).__name__ != "DatasetGenerationError"), outer)
    text = " ".join(str(cause).split()) or type(cause).__name__
    for secret in {token, (token or "").strip()} - {None, ""}:
        text = text.replace(str(secret), "***")
    return text if len(text) <= 400 else f"{text[:397]}..."
