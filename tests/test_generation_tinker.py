"""`--backend tinker` generates: the real SDK against a double of its server, whose tokens come from its weights."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Scc
from evaluating import dataset, rows_of
from generation_models import GREEDY, answers, prompts, wordy, written
from training_jobs import make_job, write_rows

pytest.importorskip("tinker")

from tinker_double import CUT, KEY, Failure, Reply, TinkerServer, serving_tinker
from tinker_factors import VOCABULARY, State
from tinker_fixtures import SETTINGS, tokenizer
from tinker_sampling import draw

from compressor_cli.backends.tinker import conduct, connection, open_generator
from compressor_cli.core.chat_prompts import chat_prompts
from compressor_cli.core.chat_tokenizer import load_chat_tokenizer
from compressor_cli.core.generation import Generator, ModelSource, Prompt, Sampling
from compressor_cli.core.training import Launch
from compressor_cli.errors import QuotaError, SccError, UsageError
from compressor_cli.settings import CloudSettings

__all__ = ["tokenizer"]  # a fixture

ANSWER = "the quick brown fox jumps over a lazy dog"
PATH = "tinker://session-1:train:0/sampler_weights/final"
Open = Callable[..., Generator]


@pytest.fixture
def server(tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinkerServer]:
    """Its model has the name of the tokenizer's folder; PATH are weights that write ANSWER."""
    with serving_tinker(str(tokenizer)) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.states[PATH] = writer(tokenizer)
        yield server


def writer(tokenizer: Path) -> State:
    """Weights that write ANSWER and end behind a prompt, each of its tokens likelier than all others by far."""
    loaded = load_chat_tokenizer(str(tokenizer))
    chain = [*loaded.tokens("\n"), *loaded.tokens(ANSWER), *loaded.tokens("<|im_end|>")]
    assert len(set(chain)) == len(chain), "a token is followed by one other"
    second = np.zeros((VOCABULARY, VOCABULARY))
    second[chain[:-1], chain[1:]] = 9.0
    return State(VOCABULARY, {"first": np.eye(VOCABULARY), "second": second}, {})


@pytest.fixture
def opened(server: TinkerServer) -> Iterator[Open]:
    generators: list[Generator] = []
    logger = logging.getLogger("tinker")
    before = [*logger.handlers]

    def run(model: str | None = PATH, **source: object) -> Generator:
        generators.append(open_generator(ModelSource(model, **source)))  # type: ignore[arg-type]
        return generators[-1]

    yield run
    for one in generators:
        one.close()
    assert logger.propagate
    logger.handlers[:] = before  # pytest leaves its own where a logger did not propagate


def trained(server: TinkerServer, tokenizer: Path, folder: Path) -> Path:
    settings = CloudSettings(**SETTINGS | {"model": str(tokenizer), "steps": 6, "save_every": 6, "warmup": 0.0})
    conduct(make_job("tinker", settings, tokenizer, write_rows(folder / "data", 12, 0)), Launch(folder / "run"))
    return folder / "run"


def argmax(server: TinkerServer, tokenizer: Path, path: str, prompt: Prompt) -> str:
    """By the weights of a checkpoint alone."""
    found = chat_prompts(load_chat_tokenizer(str(tokenizer)))
    asked = found.encode([prompt])[0][0]
    logits = server.states[path].weights["first"] @ server.states[path].weights["second"]
    tokens, token = list[int](), asked.tokens[-1]
    while len(tokens) < prompt.max_tokens and (token := int(logits[token].argmax())) not in found.ends:
        tokens.append(token)
    return found.answer(asked, tokens, truncated=len(tokens) == prompt.max_tokens, seconds=0).text


@pytest.mark.parametrize("writes_end", [True, False])
def test_greedy_is_the_likeliest_token_each_time(
    server: TinkerServer, opened: Open, tokenizer: Path, writes_end: bool
) -> None:
    server.samplers.writes_end = writes_end
    generator, asked = opened(), prompts(wordy(7))
    assert generator.name == PATH
    assert written(generator, asked) == [ANSWER] * 7 == [argmax(server, tokenizer, PATH, one) for one in asked]
    found = answers(generator, asked[:1])[0]
    assert found.tokens_out == len(load_chat_tokenizer(str(tokenizer)).tokens(ANSWER)) and not found.truncated
    assert found.tokens_in > 10 and found.seconds > 0 and found.cost_usd is None


def test_a_run_is_asked_by_its_folder(server: TinkerServer, opened: Open, tokenizer: Path, tmp_path: Path) -> None:
    run = trained(server, tokenizer, tmp_path)
    sampler = json.loads((run / "tinker_run.json").read_text())["sampler_path"]
    asked = prompts(wordy(3), 20)
    expected = [argmax(server, tokenizer, sampler, one) for one in asked]
    generator = opened(None, adapter=run)
    assert generator.name == f"tinker:{run}"
    assert written(generator, asked) == expected != [ANSWER] * 3
    assert written(opened(None, adapter=run / "adapter"), asked) == expected
    assert written(opened(str(tokenizer), adapter=Path(sampler)), asked) == expected
    assert server.finished == ["success"], "the session of the training; those of the generators are open"


def test_a_base_model(server: TinkerServer, opened: Open, tokenizer: Path) -> None:
    """It knows nothing: each token is as likely as any other."""
    found = written(opened(str(tokenizer)), prompts(wordy(2), 30), Sampling(1.0, 1.0, 5))
    drawn = draw(State.new(1, 0, VOCABULARY), 0, server.samplers.asked[0]["sampling_params"])[0]
    assert found[0] == load_chat_tokenizer(str(tokenizer)).hf.decode(drawn, skip_special_tokens=True).rstrip("\ufffd")
    assert len(set(drawn)) > 20
    with pytest.raises(UsageError, match=r"model 'other/one' is not there; .* has "):
        opened("other/one")


def test_each_prompt_has_a_limit_of_its_own_and_truncation_is_told(opened: Open, tokenizer: Path) -> None:
    length = len(load_chat_tokenizer(str(tokenizer)).tokens(ANSWER))
    limits = (2, length, length + 1)
    found = answers(opened(), [prompts(wordy(1), limit)[0] for limit in limits])
    assert [(one.tokens_out, one.truncated) for one in found] == [(2, True), (length, True), (length, False)]
    assert ANSWER.startswith(found[0].text) and found[1].text == found[2].text == ANSWER


def test_what_the_server_is_told(server: TinkerServer, opened: Open, tokenizer: Path) -> None:
    answers(opened(), prompts(wordy(1), 9), Sampling(0.5, 0.9, 7))
    params = server.samplers.asked[0]["sampling_params"]
    ends = sorted(chat_prompts(load_chat_tokenizer(str(tokenizer))).ends)
    assert params == {"max_tokens": 9, "seed": 7, "stop": ends, "temperature": 0.5, "top_k": -1, "top_p": 0.9}
    assert ends and server.count("telemetry") == 0


def test_a_seed_makes_samples_again(server: TinkerServer, opened: Open) -> None:
    generator, asked = opened(), prompts(wordy(3), 12)

    def drawn(seed: int, temperature: float = 3.0, top_p: float = 1.0) -> list[str]:
        return written(generator, asked, Sampling(temperature, top_p, seed))

    assert drawn(1) == drawn(1) != drawn(2)
    assert drawn(1, temperature=0.0) == drawn(2, temperature=0.0) == [ANSWER] * 3
    assert drawn(1, top_p=1e-6) == [ANSWER] * 3


def test_answers_come_as_each_is_done_and_many_are_in_flight(server: TinkerServer, opened: Open) -> None:
    server.latency = 0.15  # a token
    generator = opened(batch_size=3)
    asked = [prompts(wordy(1), limit)[0] for limit in (6, 1, 3, 1, 1)]
    found = list(generator.generate(asked, GREEDY))
    places = [place for place, _ in found]
    assert places[0] == 1 and places.index(2) < places.index(0) and sorted(places) == list(range(5))
    assert all(answer.seconds >= 0.15 * answer.tokens_out for _, answer in found)
    under_way = most = 0
    for what in server.events:
        under_way += {("in", "asample"): 1, ("out", "asample"): -1}.get(what, 0)
        most = max(most, under_way)
    assert most == 3


def test_what_is_no_longer_wanted_is_left(server: TinkerServer, opened: Open) -> None:
    generator = opened(batch_size=2)
    found = generator.generate(prompts(wordy(9)), GREEDY)
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert server.count("asample") <= 3
    assert written(generator, prompts(wordy(2))) == [ANSWER] * 2


def test_prompts_that_cannot_be_asked_fail_alone(server: TinkerServer, opened: Open, tokenizer: Path) -> None:
    server.models[str(tokenizer)] = 60
    good, none, long = prompts(wordy(1))[0], prompts(wordy(1), 0)[0], prompts(["word " * 80])[0]
    found = answers(opened(), [good, none, long, good])
    assert [one.text for one in found] == [ANSWER, "", "", ANSWER]
    assert found[1].error == "max_tokens leaves no room for an answer"
    assert found[2].error and found[2].error.endswith("tokens, and the model reads 60")
    assert answers(opened(), []) == []


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (Failure("it is too hot", "server"), "the server failed: it is too hot"),
        (Failure("not this one", "user"), "the server could not do what it was asked: not this one"),
        (Reply(400, {"detail": "no such token"}), "the server refuses a request (400): no such token"),
    ],
)
def test_what_is_wrong_with_one_prompt_stands_on_its_row(
    server: TinkerServer, opened: Open, what: Failure | Reply, error: str
) -> None:
    server.script["asample"].append(what)
    found = answers(opened(batch_size=1), prompts(wordy(3)))
    assert [one.error for one in found] == [error, None, None]
    assert [one.text for one in found] == ["", ANSWER, ANSWER]


def test_an_answer_that_the_server_forgot_fails_alone(server: TinkerServer, opened: Open) -> None:
    server.script["retrieve_future"].append(Reply(410, {"detail": "expired"}))
    found = answers(opened(batch_size=1), prompts(wordy(2)))
    assert [one.error for one in found] == ["the server refuses a request (410): expired", None]


@pytest.mark.parametrize("what", [Reply(500, "sorry"), Reply(429, "later"), CUT])
def test_what_passes_is_asked_again(server: TinkerServer, opened: Open, what: Reply | str) -> None:
    server.script["asample"].append(what)
    assert written(opened(), prompts(wordy(3))) == [ANSWER] * 3
    assert server.count("asample") == 4 and len(server.samplers.asked) == 3, "none is sampled twice"


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [(401, UsageError, "refuses the key"), (403, SccError, "may not do this"), (404, SccError, "does not know")],
)
def test_what_is_wrong_with_every_prompt_is_raised(
    server: TinkerServer, opened: Open, status: int, kind: type[SccError], said: str
) -> None:
    generator = opened()
    server.always["asample"] = Reply(status, {"detail": f"no, {KEY}"})
    with pytest.raises(kind, match=said) as raised:
        answers(generator, prompts(wordy(3)))
    assert "\n" not in str(raised.value) and KEY not in str(raised.value)


def test_a_server_that_keeps_failing_is_given_up(
    server: TinkerServer, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK by itself would go on for hours."""
    generator = opened()
    monkeypatch.setattr("tinker.lib.internal_client_holder.InternalClientHolder._is_retryable_status_code", lambda _: 0)
    server.always["asample"] = Reply(503, "sorry")
    with pytest.raises(SccError, match=r"fails \(503\), after minutes of trying: sorry") as raised:
        answers(generator, prompts(wordy(2)))
    assert raised.value.hint == "try again"


def test_a_server_that_is_gone_is_noticed(server: TinkerServer, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", connection.Patience(ask=0.1, lost=0.5, tell=60))
    generator = opened()
    server.latency, server.always["healthz"] = 60, Reply(503, "gone")
    began = time.monotonic()
    with pytest.raises(SccError, match=r"the connection to .* is lost") as raised:
        answers(generator, prompts(wordy(2)))
    assert raised.value.hint == "try again" and time.monotonic() - began < 30


def test_an_answer_that_takes_long_is_told(server: TinkerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", connection.Patience(tell=0.3))
    said: list[str] = []
    generator = open_generator(ModelSource(PATH), tell=said.append)
    server.latency = 0.1
    assert written(generator, prompts(wordy(1))) == [ANSWER]
    generator.close()
    assert "waiting for an answer: 0 s up to now" in said


def test_an_account_without_money_ends_it(server: TinkerServer, opened: Open) -> None:
    generator = opened()
    server.always["asample"] = Reply(402, {"detail": "top it up"})
    with pytest.raises(QuotaError, match="asks to be paid"):
        answers(generator, prompts(wordy(2)))


def test_what_tinker_does_not_keep_is_refused(server: TinkerServer, opened: Open, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--model or --adapter is needed"):
        opened(None)
    with pytest.raises(UsageError, match="no such folder"):
        opened(None, adapter=tmp_path / "none")
    with pytest.raises(UsageError, match="is no run of scc train --backend tinker"):
        opened(None, adapter=tmp_path)
    with pytest.raises(UsageError, match="is no path of weights to sample from"):
        opened("tinker://nothing")
    unfinished = {"backend": "tinker", "model": "m", "steps_done": 3, "state_path": "tinker://r/weights/a"}
    (tmp_path / "tinker_run.json").write_text(json.dumps(unfinished))
    with pytest.raises(UsageError, match="the run has no result yet"):
        opened(None, adapter=tmp_path)
    with pytest.raises(SccError, match=r"does not know what it is asked for \(404\): no checkpoint"):
        opened(f"{PATH}-gone")
    assert server.finished == ["errored"]


def test_eval_from_a_run(server: TinkerServer, tokenizer: Path, work: Path, scc: Scc) -> None:
    run = trained(server, tokenizer, work)
    server.script["asample"].append(Failure("it is too hot"))
    data = dataset(work / "data.jsonl", 4)
    words = ["eval", "--adapter", run, "--data", data, "--embeddings", "none", "--output", "eval/a.jsonl"]
    assert scc(*words).exit_code == 3
    rows = rows_of(work / "eval/a.jsonl")
    assert [row["error"] for row in rows if "error" in row] == ["the server failed: it is too hot"]
    mended = scc(*words, "--resume", "--retry-errors")
    assert mended.exit_code == 0, mended.stderr
    rows = [row for row in rows_of(work / "eval/a.jsonl") if "error" not in row]
    assert len(rows) == 4 and all(row["raw"] and row["model_tokens_out"] > 0 for row in rows)
    assert server.count("asample") == 5 and set(server.finished) == {"success"}
    path = json.loads((run / "tinker_run.json").read_text())["sampler_path"]
    other = scc(
        "eval", "--backend", "tinker", "--model", path, "--data", data, "--embeddings", "none",
        "--output", "eval/b.jsonl",
    )  # fmt: skip
    assert other.exit_code == 0, other.stderr
    by_id = {row["id"]: row["raw"] for row in rows}
    assert by_id == {row["id"]: row["raw"] for row in rows_of(work / "eval/b.jsonl")}
    by_address = scc(
        "eval", "--adapter", path, "--data", data, "--embeddings", "none", "--output", "eval/c.jsonl",
    )  # fmt: skip
    assert by_address.exit_code == 0, by_address.stderr
    assert by_id == {row["id"]: row["raw"] for row in rows_of(work / "eval/c.jsonl")}
    assert json.loads(Path("eval/c.jsonl.settings.json").read_text())["adapter"] == path


def test_an_eval_tells_what_it_waits_for(
    server: TinkerServer, work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", connection.Patience(tell=0.2))
    server.latency = 0.3
    words = ["--backend", "tinker", "--model", PATH, "--embeddings", "none", "--output", "eval/a.jsonl"]
    done = scc("eval", *words, "--data", dataset(work / "data.jsonl", 2))
    assert done.exit_code == 0 and "waiting for an answer" in done.stderr


def test_weights_at_tinker_are_of_no_other_backend(work: Path, scc: Scc) -> None:
    words = ["--adapter", PATH, "--backend", "torch", "--output", "eval/a.jsonl"]
    done = scc("eval", *words, "--data", dataset(work / "data.jsonl", 2))
    assert done.exit_code == 2 and f"{PATH} is kept at Tinker" in done.stderr and "scc export" in done.stderr
