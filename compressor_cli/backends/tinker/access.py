"""Where the server is, the key to it, and whether it is there at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from compressor_cli.core.training import TrainSettings
from compressor_cli.errors import MissingKeyError, SccError, UsageError
from compressor_cli.settings import CloudSettings, key_variables, load_endpoints, load_keys

CLOUD = "https://tinker.thinkingmachines.dev/services/tinker-prod"
_HEALTH_SECONDS = 10.0


@dataclass(frozen=True)
class Access:
    url: str
    key: str = field(repr=False)


def cloud_settings(settings: TrainSettings) -> CloudSettings:
    assert isinstance(settings, CloudSettings)
    return settings


def find_access(settings: TrainSettings) -> Access:
    return access_to(cloud_settings(settings).base_url)


def access_to(base_url: str | None) -> Access:
    """`base_url` before TINKER_BASE_URL before Tinker's own cloud. Raises UsageError for what cannot work."""
    url = (base_url or load_endpoints().tinker or CLOUD).rstrip("/")
    try:
        parts = urlsplit(url)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        raise UsageError("--base-url: not an address, as http://127.0.0.1:8000 is one") from None
    if parts.username or parts.password:
        raise UsageError("--base-url: leave out user and password; the key goes into TINKER_API_KEY")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_good:
        raise UsageError(f"--base-url {url}: not an address, as http://127.0.0.1:8000 is one")
    return Access(url, _key(url))


def _key(url: str) -> str:
    secret, variable = load_keys().tinker, key_variables("tinker")
    if secret is None:
        raise MissingKeyError("Tinker", variable)
    key = secret.get_secret_value().strip()
    if not key.startswith(("tml-", "eyJ")) or not key.isascii() or not key.isprintable() or " " in key:
        where = "make one in Tinker's console" if url == CLOUD else "a server without keys takes any: tml-none"
        raise UsageError(f"{variable} holds no key of Tinker's: those begin with tml-", hint=where)
    return key


def is_healthy(access: Access, seconds: float = _HEALTH_SECONDS) -> bool:
    try:
        ask_health(access, seconds)
    except SccError:
        return False
    return True


def ask_health(access: Access, seconds: float = _HEALTH_SECONDS) -> None:
    """Raises SccError unless a Tinker server answers in time: the SDK by itself tries for many minutes, in silence."""
    import httpx

    hint = "check --base-url, TINKER_BASE_URL and the network"
    try:
        answer = httpx.get(f"{access.url}/api/v1/healthz", timeout=seconds, headers={"X-API-Key": access.key})
    except httpx.TimeoutException:
        raise SccError(f"no answer from {access.url} within {seconds:.0f} s", hint=hint) from None
    except httpx.HTTPError as exc:
        raise SccError(f"no server at {access.url}: {str(exc) or type(exc).__name__}", hint=hint) from None
    if answer.status_code >= 500:
        raise SccError(f"{access.url} is not ready: it answers {answer.status_code}", hint="try again in a while")
    if answer.status_code in (401, 402, 403):  # it is there; what it refuses the SDK will say
        return
    if answer.status_code != 200 or not _says_ok(answer.text):
        raise SccError(f"{access.url} is no Tinker server: {answer.status_code} at /api/v1/healthz", hint=hint)


def _says_ok(text: str) -> bool:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and told.get("status") == "ok"
