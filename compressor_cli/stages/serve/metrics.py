"""What `/metrics` tells, in Prometheus' text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from threading import Lock

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_HELP = {
    "scc_requests_total": ("counter", "Requests by path and status."),
    "scc_errors_total": ("counter", "Requests that were refused or failed."),
    "scc_tokens_in_total": ("counter", "Tokens of texts that were compressed."),
    "scc_tokens_out_total": ("counter", "Tokens of what they became."),
    "scc_requests_in_work": ("gauge", "Compressions that wait or are in work."),
    "scc_batches_total": ("counter", "Batches that went to the model of the adapter."),
    "scc_prompts_total": ("counter", "Prompts in them."),
}


class Metrics:
    """`paths` are the labels there are; any other path is `other`."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        self._paths, self._lock = paths, Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._errors = self._tokens_in = self._tokens_out = 0
        self._seconds: Counter[float] = Counter()
        self._total_seconds = 0.0

    def replied(self, path: str, status: int) -> None:
        with self._lock:
            self._requests[path if path in self._paths else "other", status] += 1
            self._errors += status >= 400

    def compressed(self, tokens_in: int, tokens_out: int) -> None:
        with self._lock:
            self._tokens_in += tokens_in
            self._tokens_out += tokens_out

    def took(self, seconds: float) -> None:
        """A request to compress, from its arrival to its answer."""
        with self._lock:
            self._seconds[next((bound for bound in _BUCKETS if seconds <= bound), float("inf"))] += 1
            self._total_seconds += seconds

    def text(self, gauges: Mapping[str, int]) -> bytes:
        """With `gauges`, which others count."""
        with self._lock:
            values: dict[str, list[tuple[str, float]]] = {
                "scc_requests_total": [
                    (f'{{path="{path}",status="{status}"}}', count)
                    for (path, status), count in sorted(self._requests.items())
                ],
                "scc_errors_total": [("", self._errors)],
                "scc_tokens_in_total": [("", self._tokens_in)],
                "scc_tokens_out_total": [("", self._tokens_out)],
                **{name: [("", value)] for name, value in gauges.items()},
            }
            lines = [line for name, rows in values.items() for line in _family(name, rows)]
            return "\n".join([*lines, *self._histogram(), ""]).encode()

    def _histogram(self) -> list[str]:
        name, total = "scc_request_seconds", 0
        lines = [f"# HELP {name} Seconds from a request to its answer.", f"# TYPE {name} histogram"]
        for bound in (*_BUCKETS, float("inf")):
            total += self._seconds[bound]
            lines.append(f'{name}_bucket{{le="{"+Inf" if bound == float("inf") else f"{bound:g}"}"}} {total}')
        return [*lines, f"{name}_sum {self._total_seconds:.6f}", f"{name}_count {total}"]


def _family(name: str, rows: list[tuple[str, float]]) -> list[str]:
    kind, told = _HELP[name]
    return [f"# HELP {name} {told}", f"# TYPE {name} {kind}", *(f"{name}{labels} {value}" for labels, value in rows)]
