"""What Tinker's SDK raises, as one line each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compressor_cli.core.models import one_line
from compressor_cli.errors import QuotaError, SccError, UsageError

AGAIN = "the same command goes on from the last checkpoint"
_STATUS = {
    403: "the key in TINKER_API_KEY may not do this (403)",
    404: "the server does not know what it is asked for (404)",
    409: "the server refuses: it has that already (409)",
    413: "the server refuses a request of this size (413)",
    429: "too many requests at once, after minutes of trying (429)",
}

_OF_ONE_REQUEST = (400, 410, 413, 422)  # 410: the server has forgotten it


def told(exc: BaseException, url: str, key: str = "") -> SccError:
    """`key` is masked, wherever a server quotes it."""
    error = _told(exc, url)
    if key and key in str(error):
        return type(error)(str(error).replace(key, "***"), hint=error.hint)
    return error


def is_of_one_request(exc: BaseException) -> bool:
    """Whether another request may well be answered."""
    import tinker

    for one in _chain(exc):
        if isinstance(one, tinker.APIStatusError):
            return one.status_code in _OF_ONE_REQUEST
        if isinstance(one, tinker.RequestFailedError):
            return True
    return False


def _told(exc: BaseException, url: str) -> SccError:
    import tinker

    chain = list(_chain(exc))
    for one in chain:
        if isinstance(one, SccError):
            return one
        if isinstance(one, tinker.APIStatusError):
            return _of_status(one.status_code, _said(one), url)
        if isinstance(one, tinker.APITimeoutError):
            return SccError(f"{url} gave no answer in time, after minutes of trying", hint=AGAIN)
        if isinstance(one, tinker.APIConnectionError):
            return SccError(f"the connection to {url} is lost, after minutes of trying", hint=AGAIN)
        if isinstance(one, tinker.APIResponseValidationError):
            return _another_protocol(url, str(one))
        if isinstance(one, tinker.RequestFailedError):
            return _of_request(one)
    if type(exc).__name__ == "RetryableException":  # of no public module
        return SccError(f"{url} has forgotten a request: {_short(str(exc))}", hint=AGAIN)
    if isinstance(exc, ValueError | TypeError | AttributeError | AssertionError | KeyError):
        return _another_protocol(url, str(exc))
    return SccError(f"Tinker's SDK: {one_line(exc) if isinstance(exc, Exception) else type(exc).__name__}", hint=AGAIN)


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """An exception and those that it came from; the SDK's own handling of an error can fail, and hide it."""
    one: BaseException | None = exc
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__


def _of_status(status: int, said: str, url: str) -> SccError:
    if status == 401:
        return UsageError(f"{url} refuses the key in TINKER_API_KEY (401): {said}", hint="make a new one, or mend it")
    if status == 402:
        return QuotaError(f"{url} asks to be paid (402): {said}", hint=f"see to billing in its console; {AGAIN}")
    if status in _STATUS:
        return SccError(f"{_STATUS[status]}: {said}", hint=AGAIN if status in (409, 429) else None)
    if status >= 500:
        return SccError(f"{url} fails ({status}), after minutes of trying: {said}", hint=AGAIN)
    return SccError(f"the server refuses a request ({status}): {said}")


def _of_request(exc: Any) -> SccError:
    """A request that was taken, and failed while it was worked on."""
    said = _short(str(exc.message).removeprefix("Request failed: ").split(" for self.request_id=")[0])
    if exc.category == "user":
        return SccError(f"the server could not do what it was asked: {said}")
    return SccError(f"the server failed: {said}", hint=AGAIN)


def _another_protocol(url: str, said: str) -> SccError:
    from tinker import __version__

    return SccError(
        f"{url} answers with something else than tinker {__version__} understands: {_short(said)}",
        hint="its version may be another: compare it with that of the SDK",
    )


def _said(exc: Any) -> str:
    """What the server said, without the JSON around it."""
    body = exc.body
    if isinstance(body, dict):
        body = next((body[name] for name in ("detail", "error", "message") if body.get(name)), body)
        if isinstance(body, dict):
            body = body.get("message") or body
        if isinstance(body, list):  # a field each, as FastAPI tells them
            body = "; ".join(map(_field, body))
    return _short(str(body or "no reason given"))


def _field(told: Any) -> str:
    if not isinstance(told, dict):
        return str(told)
    where = ".".join(map(str, told.get("loc") or ()))
    return f"{where}: {told.get('msg', told)}" if where else str(told.get("msg", told))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:297]}..."
