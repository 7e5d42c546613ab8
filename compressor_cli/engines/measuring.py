"""One answer, measured: tokens, facts, likeness to the reference; and truncation at the same budget beside it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from compressor_cli.core.baselines import beginning
from compressor_cli.core.decoding import is_fenced, strip_generation_artifacts, truncate_repetition
from compressor_cli.core.evaluation_rows import EvalRow
from compressor_cli.core.facts import KINDS, check_facts
from compressor_cli.core.generation import Generated
from compressor_cli.core.paircheck import CODE_KINDS
from compressor_cli.core.similarity import Similarity
from compressor_cli.core.tokens import TokenCounter
from compressor_cli.engines.code_shape import shape
from compressor_cli.records import FactReport


def cleaned(text: str, row: EvalRow) -> str:
    """A fence that the reference has is asked for. Earlier turns are told, and no instructions."""
    asked = [message for message in row.messages[:-1] if message["role"] == "system"] + list(row.messages[-1:])
    prompt = "\n".join(str(message.get("content") or "") for message in asked)
    prompt = prompt.replace(row.input, "") if row.input else prompt
    stripped = strip_generation_artifacts(text, row.input, prompt, fenced=is_fenced(row.reference))
    return truncate_repetition(stripped, row.input)


class Scorer:
    """Nothing is repaired but what stands around an answer: a fact that is lost stays lost.

    Without `similarity`, nothing is compared with a reference.
    """

    def __init__(self, counter: TokenCounter, similarity: Similarity | None) -> None:
        self.counter, self.similarity = counter, similarity
        self._truncate = beginning(counter.count)

    def measured(self, row: EvalRow, answer: Generated, wall_seconds: float) -> dict[str, Any]:
        """A row of an eval, without what judges say. `wall_seconds` passed since the answer before."""
        output, count = cleaned(answer.text, row), self.counter.count
        tokens_in, tokens_out = count(row.input), count(output)
        report, cut = self._facts(row, output), self._truncate(row.input, tokens_out)
        return {
            **identity(row),
            "output": output,
            "raw": answer.text,
            "tokenizer": self.counter.name,
            "tokens_in": tokens_in,
            "tokens_reference": count(row.reference) if row.reference else None,
            "tokens_out": tokens_out,
            "tokens_raw": count(answer.text),
            "model_tokens_in": answer.tokens_in,
            "model_tokens_out": answer.tokens_out,
            "ratio": round(tokens_out / tokens_in, 4),
            "fidelity": report.fidelity,
            "facts": len(report.facts),
            "lost": [asdict(fact) for fact in report.facts if fact.status != "kept"],
            "similarity": self._likeness(row, output),
            "metric": self.similarity.name if self.similarity else None,
            "truncation": {
                "tokens": count(cut),
                "fidelity": self._facts(row, cut).fidelity,
                "similarity": self._likeness(row, cut),
            },
            "seconds": round(answer.seconds, 6),
            "wall_seconds": round(wall_seconds, 6),
            "truncated": answer.truncated,
            "repaired": output.strip() != answer.text.strip(),
            "cost_usd": answer.cost_usd,
        }

    def _facts(self, row: EvalRow, text: str) -> FactReport:
        return check_facts(row.input, text, kinds=CODE_KINDS if row.domain == "code" else KINDS)

    def _likeness(self, row: EvalRow, text: str) -> float | None:
        if self.similarity is None:
            return None
        if row.domain == "code":
            return self.similarity.code(text, row.reference, lambda code: shape(code, row.language))
        return self.similarity.prose(text, row.reference)


def identity(row: EvalRow) -> dict[str, Any]:
    return {
        "key": row.key,
        "id": row.id,
        "line": row.line,
        "domain": row.domain,
        "input": row.input,
        "reference": row.reference,
    }
