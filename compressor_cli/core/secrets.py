"""Secrets and personal data in a text, and the text without them.

Secrets are found by the patterns of detect-secrets and a few of this project's own; nothing is verified over the
network. Its plugins for high entropy and for public IP addresses are left out: hashes, UUIDs and digests would be
alarms. A password or token without a form of its own counts where a name says that it is one and it looks random:
eight characters with letters and digits, no placeholder.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

from compressor_cli.core.personal import personal_data
from compressor_cli.errors import MissingExtraError

Span = tuple[int, int, str]  # start, end, type

# Module and class of each plugin, and what a text must hold, one of, before its patterns are tried.
_PLUGINS = (
    ("artifactory", "ArtifactoryDetector", ("AKC", "AP")),
    ("aws", "AWSKeyDetector", ("A3T", "ABIA", "ACCA", "AKIA", "ASIA", "aws", "AWS", "Aws")),
    ("azure_storage_key", "AzureStorageKeyDetector", ("AccountKey=",)),
    ("cloudant", "CloudantDetector", ("cloudant", "CLOUDANT", "Cloudant")),
    ("discord", "DiscordBotTokenDetector", ("M", "N", "O")),
    ("github_token", "GitHubTokenDetector", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
    ("gitlab_token", "GitLabTokenDetector", ("gl", "GR1348941")),
    ("ibm_cloud_iam", "IbmCloudIamDetector", ("ibm", "IBM")),
    ("ibm_cos_hmac", "IbmCosHmacDetector", ("cos", "COS")),
    ("mailchimp", "MailchimpDetector", ("-us",)),
    ("npm", "NpmDetector", ("_authToken",)),
    ("openai", "OpenAIDetector", ("T3BlbkFJ",)),
    ("private_key", "PrivateKeyDetector", ("BEGIN ", "PuTTY-User-Key")),
    ("pypi_token", "PypiTokenDetector", ("pypi-",)),
    ("sendgrid", "SendGridDetector", ("SG.",)),
    ("slack", "SlackDetector", ("xox", "hooks.slack.com")),
    ("softlayer", "SoftlayerDetector", ("softlayer", "SOFTLAYER", "Softlayer")),
    ("square_oauth", "SquareOAuthDetector", ("sq0csp-",)),
    ("stripe", "StripeDetector", ("k_live_",)),
    ("telegram_token", "TelegramBotTokenDetector", (":",)),
    ("twilio", "TwilioKeyDetector", ("AC", "SK")),
)

# What the plugins have not, not whole, or not in linear time: with a type, and what the text must hold.
_OWN = tuple(
    (kind, needle, re.compile(pattern))
    for kind, needle, pattern in (
        (
            "private-key",
            "PRIVATE KEY",
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
            r"(?:(?:(?!-----BEGIN)[\s\S]){0,20000}?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
            r"|[\sA-Za-z0-9+/=\\\"',]*)",
        ),
        ("private-key", "PuTTY-User-Key", r"PuTTY-User-Key-File-\d:[\s\S]{0,20000}?Private-MAC: ?[0-9a-f]+"),
        ("json-web-token", "eyJ", r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{4,}\.[\w-]*"),
        ("anthropic-key", "sk-ant-", r"sk-ant-[A-Za-z0-9_-]{20,}"),
        ("openai-token", "sk-", r"\bsk-(?:proj-|svcacct-|admin-)[A-Za-z0-9_-]{20,}|\bsk-[A-Za-z0-9]{48}\b"),
        ("google-api-key", "AIza", r"AIza[0-9A-Za-z_-]{35}"),
        ("google-oauth-secret", "GOCSPX-", r"GOCSPX-[0-9A-Za-z_-]{28}"),
        ("hugging-face-token", "hf_", r"\bhf_[A-Za-z0-9]{34,}"),
        ("github-token", "github_pat_", r"github_pat_[A-Za-z0-9_]{50,}"),
        ("npm-token", "npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
        ("slack-token", "xapp-", r"xapp-\d-[A-Z0-9]+-\d+-[a-f0-9]{32,}"),
        ("stripe-access-key", "k_", r"\b[sr]k_(?:live|test)_[0-9A-Za-z]{24,}|\bwhsec_[0-9A-Za-z]{32,}"),
        ("tinker-key", "tml-", r"\btml-[A-Za-z0-9_-]{32,}"),
    )
)
_CREDENTIALS = re.compile(r"://[^\s:/@{}\"'<>]{1,256}:([^\s:/@{}\"'<>]{1,256})@")  # in an address
_NAMED = re.compile(
    r"(?i)(?:passw(?:or)?d|passphrase|pwd|secret|token|bearer|credential|(?:api|auth|access|private|service|account|client|"
    r"db|database)[_-]?key|db[_-]?pass)\w{0,40}[\]\"'`)]{0,2}(?:[ \t]*(?::=|=>|={1,3}|:)[ \t]*|[ \t]+)@?"
    r"(?:[\"'`]([^\"'`\s]{8,512})[\"'`]|(?:bearer +)?([^\"'`\s,;(){}\[\]<>]{8,512}))"
)
_PLACEHOLDER = re.compile(
    r"(?i)x{3,}|\*{3,}|\.{3}|…|example|sample|dummy|placeholder|change|replace|redacted|your|insert|todo|foobar|"
    r"^test|^fake|^mock|^my[-_]|123456|abcdef|password|passwd|secret|token|^[<{$%].*|.*[}>%]$|://"
)
_REPEATED = re.compile(r"(.)\1{7}")  # no key, but what stands for one
_LEAST_ENTROPY = 2.8  # bits a character; `hunter2!` has 3.0


@dataclass(frozen=True)
class Masked:
    """`text` with `[REDACTED:type]` for each of `spans`, which are places in `text`."""

    text: str
    spans: tuple[Span, ...]
    _starts: tuple[int, ...]
    _shifts: tuple[int, ...]

    def original(self, at: int) -> int:
        """Where a place outside of the masks stands in the text as it was."""
        before = bisect_right(self._starts, at) - 1
        return at + (self._shifts[before] if before >= 0 else 0)

    def within(self, start: int, end: int) -> dict[str, int]:
        """How many of each type stand between two places, wholly or in part."""
        return dict(sorted(Counter(kind for first, last, kind in self.spans if first < end and last > start).items()))


def mask(text: str, *, pii: bool = False) -> Masked:
    """Secrets masked, and with `pii` e-mail addresses and phone numbers too."""
    found = [*_secrets(text), *(personal_data(text) if pii else ())]
    parts: list[str] = []
    spans: list[Span] = []
    starts: list[int] = []
    shifts: list[int] = []
    at = length = 0
    for start, end, kind in _merged(found):
        replacement = f"[REDACTED:{kind}]"
        parts += (text[at:start], replacement)
        begin = length + start - at
        length = begin + len(replacement)
        spans.append((begin, length, kind))
        starts.append(length)
        shifts.append(end - length)
        at = end
    return Masked("".join((*parts, text[at:])), tuple(spans), tuple(starts), tuple(shifts))


def _merged(found: list[Span]) -> list[Span]:
    """In order; of those that overlap one, over all of their text, with the type of the longest."""
    merged: list[Span] = []
    longest = 0
    for start, end, kind in sorted(found, key=lambda span: (span[0], -span[1], span[2])):
        if merged and start < merged[-1][1]:
            first, last, before = merged[-1]
            merged[-1] = (first, max(last, end), kind if end - start > longest else before)
            longest = max(longest, end - start)
        else:
            merged.append((start, end, kind))
            longest = end - start
    return merged


def _secrets(text: str) -> Iterator[Span]:
    for kind, needles, patterns, valid in _plugins():
        if any(needle in text for needle in needles):
            for pattern in patterns:
                for match in pattern.finditer(text):
                    start, end = _secret_part(match)
                    if valid(text[start:end]) and not _REPEATED.search(text, start, end):
                        yield start, end, kind
    for kind, needle, pattern in _OWN:
        if needle in text:
            yield from ((*match.span(), kind) for match in pattern.finditer(text))
    if "://" in text:
        for match in _CREDENTIALS.finditer(text):
            if not _PLACEHOLDER.search(match[1]) and match[1] not in ("pass", "pwd", "pw"):
                yield *match.span(1), "basic-auth-credentials"
    for match in _NAMED.finditer(text):
        group = 1 if match[1] else 2
        if _looks_random(match[group], quoted=group == 1):
            yield *match.span(group), "secret-keyword"


def _secret_part(match: re.Match[str]) -> tuple[int, int]:
    """A group as long as a secret is the secret; what is around it then is its name."""
    groups = [match.span(number) for number in range(1, match.re.groups + 1) if match[number]]
    longest = max(groups, key=lambda span: span[1] - span[0], default=match.span())
    return longest if longest[1] - longest[0] >= 20 else match.span()


def _looks_random(value: str, *, quoted: bool) -> bool:
    if not re.search(r"\d", value) or not re.search(r"[A-Za-z]", value) or _PLACEHOLDER.search(value):
        return False
    # Without quotes: a name, an address, a constant, the end of a sentence.
    if not quoted and re.search(r"[.:/]\w|\w\.$|^[-_]|^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$", value):
        return False
    if re.fullmatch(r"[A-Z]?[a-z_-]+\d{0,4}|[A-Z_]+\d{0,4}|[a-z]+(?:[-_][a-z0-9]+)+", value):  # words, with a number
        return False
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values()) >= _LEAST_ENTROPY


@lru_cache(maxsize=1)
def _plugins() -> tuple[tuple[str, tuple[str, ...], tuple[re.Pattern[str], ...], Any], ...]:
    found = []
    for module, name, needles in _PLUGINS:
        try:
            loaded = import_module(f"detect_secrets.plugins.{module}")
        except ModuleNotFoundError as exc:
            raise MissingExtraError(exc.name or "detect_secrets", "data") from None
        plugin = getattr(loaded, name)
        valid = _VALID.get(module, lambda value: True)
        kind = re.sub(r"[^a-z0-9]+", "-", plugin.secret_type.lower()).strip("-")
        found.append((kind, needles, tuple(plugin.denylist), valid))
    return tuple(found)


# Plugins whose patterns also fit words and identifiers.
_VALID = {"artifactory": lambda value: re.search(r"AP\w*\d\w*\d|AKC\w*\d", value) is not None}
