"""Agreement by hand-computed numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli.core.agreement import alpha, calibrate
from compressor_cli.stages.validate.reliability import family, reliability


def test_alpha_is_one_minus_observed_over_expected_disagreement() -> None:
    """Two models, two pairs: observed mean of squared differences 0.02, expected over all four values by twos."""
    scores = [[1.0, 0.5], [0.8, 0.5]]
    values = [1.0, 0.5, 0.8, 0.5]
    expected = sum((a - b) ** 2 for a in values for b in values) / (4 * 3)
    observed = (0.2**2 + 0.2**2 + 0 + 0) / 4
    assert alpha(scores) == pytest.approx(1 - observed / expected, abs=1e-4)


def test_alpha_looks_past_what_one_model_alone_scored() -> None:
    whole = alpha([[1.0, 0.5, 0.2], [0.8, 0.5, 0.3]])
    assert alpha([[1.0, 0.5, 0.2, 0.9], [0.8, 0.5, 0.3, None]]) == whole
    assert alpha([[1.0, 0.2], [1.0, 0.2]]) == 1
    assert (alpha([[1.0, 0.0], [0.0, 1.0]]) or 0) < 0


@pytest.mark.parametrize(
    "scores",
    [
        [],
        [[1.0, 0.5]],  # one model
        [[1.0, 1.0], [1.0, 1.0]],  # nothing varies
        [[1.0, None], [None, 0.5]],  # no pair with two scores
        [[1.0, 0.5], [1.0, None]],  # the one that varies has one score
    ],
)
def test_alpha_that_is_not_defined_is_none(scores: list[list[float | None]]) -> None:
    assert alpha(scores) is None


def test_calibration_by_hand() -> None:
    labelled = [(0.9, True), (0.7, True), (0.6, False), (0.85, False)]
    used, best = calibrate(labelled, 0.8)
    # At 0.8: one true and one false pass. Chance: (2 x 2 + 2 x 2) / 16.
    assert (used.threshold, used.pairs, used.agreement, used.balanced) == (0.8, 4, 0.5, 0.5)
    assert (used.precision, used.recall, used.kappa) == (0.5, 0.5, 0.0)
    # Between 0.6 and 0.7: both true pass, one false does; as good as between 0.85 and 0.9, and lower.
    assert (best.threshold, best.balanced, best.precision, best.recall) == (0.65, 0.75, 0.6667, 1.0)
    assert best.kappa == 0.5


def test_labels_that_can_be_told_apart_are() -> None:
    _, best = calibrate([(0.4, False), (0.5, False), (0.8, True), (0.9, True)], 0.95)
    assert (best.threshold, best.balanced, best.kappa) == (0.65, 1.0, 1.0)


def test_nothing_passes_has_no_precision() -> None:
    used, _ = calibrate([(0.1, False), (0.2, True)], 0.9)
    assert (used.precision, used.recall, used.kappa) == (None, 0.0, 0.0)


@given(st.lists(st.tuples(st.integers(0, 20).map(lambda n: n / 20), st.booleans()), min_size=1), st.floats(0, 1))
def test_the_best_threshold_is_no_worse_than_the_one_in_use(
    labelled: list[tuple[float, bool]], threshold: float
) -> None:
    used, best = calibrate(labelled, threshold)
    if threshold <= max(score for score, _ in labelled):
        assert best.balanced >= used.balanced


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("anthropic:claude-sonnet-4-6", "anthropic"),
        ("claude-sonnet-4-6", "anthropic"),
        ("openai:o3", "openai"),
        ("openai:gpt-5", "openai"),
        ("local:gpt-oss-20b", "openai"),
        ("google:gemma-3", "google"),
        ("google:unheard-of", "google"),
        ("local:Qwen3-8B-Instruct", "qwen"),
        ("local:org/Meta-Llama-3", "meta"),
        ("local:dolphin", "dolphin"),
        ("local:foo3", "foo3"),
        ("embedded", "embedded"),
    ],
)
def test_a_family_is_who_trained_the_model(model: str, name: str) -> None:
    assert family(model) == name


def verdict(**scores: float | None) -> dict[str, Any]:
    tasks = {name: {"qa": {"abstained": score is None}} for name, score in scores.items()}
    return {"models": {name: {"score": score, "tasks": tasks[name]} for name, score in scores.items()}}


def test_transfer_is_over_the_pairs_that_every_model_scored() -> None:
    rows = [verdict(a=0.9, b=0.9), verdict(a=0.9, b=0.1), verdict(a=0.9, b=None), {"models": {}}]
    found = reliability(rows, ["openai:gpt-5"], ["a", "b"], "openai:o3", 0.8)
    assert (found.transfer, found.passes) == (0.5, {"a": 1.0, "b": 0.5})
    assert found.abstentions == pytest.approx(1 / 6, abs=1e-4)
    assert (found.flips, found.judge_abstentions, found.same_family) == (None, None, ("openai:o3",))


def test_without_a_verdict_nothing_is_said() -> None:
    found = reliability([], [], ["a"], None, 0.8)
    assert (found.alpha, found.transfer, found.passes, found.abstentions) == (None, None, {}, 0.0)
