"""`--backend local` generates: real mlx-lm on a CPU, beside what the library answers when it is called by itself."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from generation_models import GREEDY, answers, make_base, prompts, short, train_local, wordy, written
from test_child import gone

from compressor_cli.backends.mlx import open_generator
from compressor_cli.core.generation import Generator, ModelSource, Prompt, Sampling
from compressor_cli.core.model_source import Weights
from compressor_cli.errors import MissingExtraError, SccError, UsageError

mx: Any = pytest.importorskip("mlx.core")
mlx_lm: Any = pytest.importorskip("mlx_lm")
pytest.importorskip("torch")

SYSTEM = "You make text shorter for the model that reads it. Keep names, numbers and negations as they are."


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compiling for a CPU takes longer than these models."""
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")
    mx.disable_compile()
    yield
    mx.enable_compile()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    mx.disable_compile()
    return train_local(base, tmp_path_factory.mktemp("lora"))


@pytest.fixture(scope="module")
def trained(run: Path) -> Iterator[Generator]:
    generator = open_generator(ModelSource(adapter=run, batch_size=5))
    yield generator
    generator.close()


def library_answers(base: Path, adapter: Path | None, asked: list[Prompt]) -> list[str]:
    """One by one, as mlx-lm loads and generates."""
    model, tokenizer = mlx_lm.load(str(base), adapter_path=str(adapter) if adapter else None)
    found = []
    for one in asked:
        prompt = tokenizer.apply_chat_template([dict(message) for message in one.messages], add_generation_prompt=True)
        steps = list(mlx_lm.stream_generate(model, tokenizer, prompt, max_tokens=one.max_tokens))
        text = tokenizer.decode([step.token for step in steps], skip_special_tokens=True)
        cut = steps[-1].finish_reason == "length"
        found.append(text.rstrip("\N{REPLACEMENT CHARACTER}") if cut else text)
    return found


def opened(**source: Any) -> Generator:
    return open_generator(ModelSource(**source))


def test_answers_are_those_of_the_library_in_batches_and_one_by_one(trained: Generator, base: Path, run: Path) -> None:
    asked = prompts(wordy())
    assert written(trained, asked) == short() == library_answers(base, run / "adapter", asked)
    assert [written(trained, [one])[0] for one in asked] == short()


def test_what_was_never_trained_is_answered_alike(trained: Generator, base: Path, run: Path) -> None:
    asked = prompts(wordy(24)[12:], 12)
    assert written(trained, asked) == library_answers(base, run / "adapter", asked)


def test_a_model_without_adapter(base: Path) -> None:
    generator = opened(model=str(base), batch_size=3)
    asked = prompts(wordy(5), 8)
    told = library_answers(base, None, asked)
    found = written(generator, asked)
    generator.close()
    assert found == told and found != short(5)
    assert generator.name == f"local:{base}"


def test_each_prompt_has_a_limit_of_its_own_and_truncation_is_told(trained: Generator, base: Path) -> None:
    whole = answers(trained, prompts(wordy(2)))
    assert not any(answer.truncated for answer in whole)
    first, second = prompts(wordy(2), 3)[0], prompts(wordy(2), whole[1].tokens_out + 1)[1]
    cut, kept = answers(trained, [first, second])
    assert (cut.tokens_out, cut.truncated) == (3, True) and short(1)[0].startswith(cut.text)
    assert (kept.text, kept.truncated) == (short(2)[1], False)
    assert kept.tokens_in > 10 and kept.seconds > 0


def test_prompts_that_cannot_be_asked_fail_alone(trained: Generator) -> None:
    good, none = prompts(wordy(2)), prompts(wordy(1), 0)[0]
    strange, long = Prompt(({"role": "user"},), 8), prompts(["word " * 6000])[0]
    found = answers(trained, [good[0], none, strange, long, good[1]])
    assert [answer.text for answer in found] == [short(2)[0], "", "", "", short(2)[1]]
    assert found[1].error == "max_tokens leaves no room for an answer"
    assert found[2].error and "content" in found[2].error
    assert found[3].error and found[3].error.endswith("tokens, and the model reads 4,096")
    assert answers(trained, []) == []


def test_answers_come_as_they_are_done_and_the_rest_can_be_left_off(trained: Generator) -> None:
    asked = [*prompts(wordy(1), 24), *prompts(["fox " * 20], 400)]
    found = trained.generate(asked, Sampling(temperature=20.0))  # noise, that does not end soon
    found.close()  # type: ignore[attr-defined]
    found = trained.generate(prompts(wordy()), GREEDY)
    place, answer = next(found)
    assert answer.text == short()[place]
    found.close()  # type: ignore[attr-defined]
    assert written(trained, prompts(wordy(3))) == short(3)


def test_a_seed_makes_samples_again(trained: Generator) -> None:
    asked = prompts(wordy(7), 10)

    def drawn(seed: int, temperature: float = 6.0, top_p: float = 1.0) -> list[str]:
        return written(trained, asked, Sampling(temperature, top_p, seed))

    assert drawn(1) == drawn(1) != drawn(2)
    assert drawn(1, temperature=0.0) == drawn(2, temperature=0.0) == short(7)
    assert drawn(1, top_p=1e-6) == short(7)


def test_what_prompts_begin_with_is_read_once(base: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlx_lm.models import qwen3

    from compressor_cli.backends.mlx.answering import Answerer

    seen: list[int] = []
    call = qwen3.Model.__call__

    def counted(self: Any, inputs: Any, *args: Any, **more: Any) -> Any:
        seen.append(inputs.size)
        return call(self, inputs, *args, **more)

    monkeypatch.setattr(qwen3.Model, "__call__", counted)
    answerer = Answerer(Weights("", str(base), base, run / "adapter"), 4)

    def ask(contents: list[str]) -> tuple[list[str], int]:
        seen.clear()
        found = dict(filter(None, answerer.answers(prompts(contents, 6, SYSTEM), GREEDY)))
        written = sum(answer.tokens_out + 1 for answer in found.values())
        return [found[place].text for place in range(len(contents))], sum(seen) - written

    one_by_one = [library_answers(base, run / "adapter", [one])[0] for one in prompts(wordy(6), 6, SYSTEM)]
    seen_alone = len(answerer._prompts.encode(prompts(wordy(1), 6, SYSTEM))[0][0].tokens)
    together, read = ask(wordy(6))
    assert together == one_by_one and read < 3 * seen_alone
    again, read = ask(wordy(1))
    assert again == one_by_one[:1] and read < 0.6 * seen_alone
    ask(["x"])  # begins with less of it, and from now on that is what is kept
    assert ask(["y"])[1] < 0.2 * seen_alone


@pytest.mark.parametrize("what", ["run", "adapter", "bare"])
def test_an_adapter_is_named_by_its_run_or_by_its_folder(what: str, base: Path, run: Path, work: Path) -> None:
    shutil.copytree(run / "adapter", work / "bare")
    generator = opened(adapter={"run": run, "adapter": run / "adapter", "bare": Path("bare")}[what])
    found = written(generator, prompts(wordy(3)))
    generator.close()
    assert found == short(3)
    assert generator.name == f"local:{ {'run': run, 'adapter': run / 'adapter', 'bare': 'bare'}[what] }"


@pytest.mark.slow
def test_a_whole_model_stands_for_itself(base: Path, tmp_path: Path) -> None:
    run = train_local(base, tmp_path, fine_tune_type="full")
    generator = opened(adapter=run)
    found = written(generator, prompts(wordy()))
    generator.close()
    assert found == short() == library_answers(run / "adapter", None, prompts(wordy()))


def test_an_adapter_of_peft_is_exported_first(run: Path, work: Path) -> None:
    shutil.copytree(run / "adapter", work / "peft")
    (work / "peft" / "adapters.safetensors").rename(work / "peft" / "adapter_model.safetensors")
    with pytest.raises(
        UsageError, match="peft is an adapter of PEFT, and --backend local takes those of mlx-lm"
    ) as caught:
        opened(adapter=Path("peft"))
    assert caught.value.hint == "scc export peft --to DIR --format mlx makes one"


def test_an_adapter_of_another_model_is_one_line(run: Path, tmp_path: Path) -> None:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    other = make_base(tmp_path / "other")
    config = Qwen3Config.from_pretrained(other, intermediate_size=128)
    Qwen3ForCausalLM(config).save_pretrained(other)
    with pytest.raises(UsageError, match=r"is no adapter of .*other") as caught:
        open_generator(ModelSource(model=str(other), adapter=run))
    assert "\n" not in str(caught.value)
    (other / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(UsageError, match="mlx-lm cannot load it"):
        open_generator(ModelSource(model=str(other)))


def test_a_child_that_is_killed_is_one_line(base: Path) -> None:
    generator = opened(model=str(base))
    pid = generator._child._process.pid  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGKILL)  # as a system does without memory
    with pytest.raises(SccError, match=r"^the process that generates was ended by SIGKILL$") as caught:
        written(generator, prompts(wordy(1)))
    assert caught.value.hint and "--batch-size" in caught.value.hint
    generator.close()
    assert gone(pid)


def test_memory_that_mlx_does_not_get_is_one_line(base: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlx_lm.generate import BatchGenerator

    from compressor_cli.backends.mlx import generating

    def full(self: Any) -> Any:
        raise RuntimeError("[metal::malloc] Attempting to allocate 9 bytes, more than there are")

    monkeypatch.setattr(BatchGenerator, "next", full)
    ask = generating.answerer(Weights("", str(base), base, run / "adapter"), 4)
    with pytest.raises(SccError, match=r"MLX is out of memory: .*9 bytes") as caught:
        list(ask(prompts(wordy(1)), GREEDY))
    assert caught.value.hint and "--batch-size" in caught.value.hint


def test_without_the_package_it_says_what_installs_it(monkeypatch: pytest.MonkeyPatch, base: Path) -> None:
    monkeypatch.setattr("compressor_cli.backends.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="needs the package 'mlx'"):
        opened(model=str(base))
