"""`--backend torch` generates: transformers and PEFT on a CPU, beside what they answer when they are called alone."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from generation_models import GREEDY, answers, make_base, prompts, short, train_torch, wordy, written

from compressor_cli.backends.torch import open_generator
from compressor_cli.core.generation import Generator, ModelSource, Prompt, Sampling
from compressor_cli.errors import MissingExtraError, SccError, UsageError

torch, transformers, peft = (pytest.importorskip(name) for name in ("torch", "transformers", "peft"))
for package in ("trl", "accelerate"):
    pytest.importorskip(package)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """On matrices this small threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_torch(base, tmp_path_factory.mktemp("lora"))


@pytest.fixture(scope="module")
def trained(run: Path) -> Iterator[Generator]:
    generator = open_generator(ModelSource(adapter=run, batch_size=5))
    yield generator
    generator.close()


def library_answers(base: Path, adapter: Path | None, asked: list[Prompt]) -> list[str]:
    """One by one and without padding, as transformers and PEFT load and generate."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(base))
    model = transformers.AutoModelForCausalLM.from_pretrained(str(base))
    if adapter:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what PEFT does to transformers
            model = peft.PeftModel.from_pretrained(model, str(adapter))
    found = []
    for one in asked:
        messages = [dict(message) for message in one.messages]
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        tokens = model.generate(**inputs, max_new_tokens=one.max_tokens, do_sample=False)[0]
        text = tokenizer.decode(tokens[inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        cut = tokens[-1] != tokenizer.eos_token_id
        found.append(text.rstrip("\N{REPLACEMENT CHARACTER}") if cut else text)
    return found


def test_answers_are_those_of_the_library_in_batches_and_one_by_one(trained: Generator, base: Path, run: Path) -> None:
    asked = prompts(wordy())
    assert written(trained, asked) == short() == library_answers(base, run / "adapter", asked)
    assert [written(trained, [one])[0] for one in asked] == short()


def test_padding_changes_nothing(trained: Generator, base: Path, run: Path) -> None:
    """Beside a prompt that is much longer, and of answers that were never trained."""
    asked = [*prompts(wordy(15)[12:], 12), *prompts(["fox jumps over " * 60], 12)]
    together = answers(trained, asked)
    assert [answer.text for answer in together] == library_answers(base, run / "adapter", asked)
    alone = [answers(trained, [one])[0] for one in asked]
    assert [answer.tokens_in for answer in together] == [answer.tokens_in for answer in alone]


def test_a_model_without_adapter(base: Path) -> None:
    generator = open_generator(ModelSource(str(base), batch_size=3))
    asked = prompts(wordy(5), 8)
    found = written(generator, asked)
    assert found == library_answers(base, None, asked) and found != short(5)
    assert generator.name == f"torch:{base}"
    generator.close()


def test_settings_of_the_model_itself_say_nothing(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "model")
    transformers.GenerationConfig(
        do_sample=True, temperature=9.0, repetition_penalty=3.0, max_new_tokens=2, eos_token_id=[1, 2]
    ).save_pretrained(tmp_path / "model")
    generator = open_generator(ModelSource(str(tmp_path / "model")))
    assert written(generator, prompts(wordy(3), 8)) == library_answers(base, None, prompts(wordy(3), 8))


def test_each_prompt_has_a_limit_of_its_own_and_truncation_is_told(trained: Generator) -> None:
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


def test_batches_come_as_they_are_done(trained: Generator) -> None:
    found = trained.generate([*prompts(wordy(5)), *prompts(wordy(1), 3000)], GREEDY)
    assert [next(found)[0] for _ in range(5)] == [0, 1, 2, 3, 4]
    found.close()  # type: ignore[attr-defined]


def test_a_seed_makes_samples_again(trained: Generator) -> None:
    asked = prompts(wordy(7), 10)

    def drawn(seed: int, temperature: float = 6.0, top_p: float = 1.0) -> list[str]:
        return written(trained, asked, Sampling(temperature, top_p, seed))

    assert drawn(1) == drawn(1) != drawn(2)
    assert drawn(1, temperature=0.0) == drawn(2, temperature=0.0) == short(7)
    assert drawn(1, top_p=1e-6) == short(7)


def test_without_memory_for_a_batch_it_is_halved_and_one_prompt_alone_fails(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator: Any = open_generator(ModelSource(adapter=run, batch_size=8))
    real, sizes = generator._model.generate, []

    def generate(input_ids: Any, **more: Any) -> Any:
        sizes.append(len(input_ids))
        if len(input_ids) > 2 or input_ids.shape[1] > 100:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(input_ids=input_ids, **more)

    monkeypatch.setattr(generator._model, "generate", generate)
    found = answers(generator, [*prompts(wordy(5)), *prompts(["fox jumps over " * 60])])
    assert [answer.text for answer in found] == [*short(5), ""]
    assert found[5].error == "the cpu has too little memory for this prompt"
    assert sizes == [6, 3, 1, 2, 3, 1, 2, 1, 1]


def test_a_model_that_does_not_fit_is_one_line(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **more: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", full)
    with pytest.raises(SccError, match="the cpu has too little memory for ") as caught:
        open_generator(ModelSource(str(base)))
    assert caught.value.hint and "--batch-size" in caught.value.hint


@pytest.mark.parametrize("what", ["run", "adapter", "bare"])
def test_an_adapter_is_named_by_its_run_or_by_its_folder(what: str, run: Path, work: Path) -> None:
    shutil.copytree(run / "adapter", work / "bare")
    place = {"run": run, "adapter": run / "adapter", "bare": Path("bare")}[what]
    generator = open_generator(ModelSource(adapter=place))
    assert written(generator, prompts(wordy(3))) == short(3)
    assert generator.name == f"torch:{place}"


def test_modules_that_a_server_does_not_name_are_adapted_too(run: Path, work: Path) -> None:
    """PEFT by itself would adapt some of them, and drop the rest without a word."""
    shutil.copytree(run / "adapter", work / "from-server")
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    (work / "from-server" / "adapter_config.json").write_text(json.dumps({**config, "target_modules": None}))
    generator = open_generator(ModelSource(adapter=Path("from-server"), model=config["base_model_name_or_path"]))
    assert written(generator, prompts(wordy(3))) == short(3)


def test_a_whole_model_stands_for_itself(base: Path, tmp_path: Path) -> None:
    run = train_torch(base, tmp_path, fine_tune_type="full")
    generator = open_generator(ModelSource(adapter=run))
    assert written(generator, prompts(wordy())) == short() == library_answers(run / "adapter", None, prompts(wordy()))


def test_an_adapter_of_mlx_is_exported_first(run: Path, work: Path) -> None:
    shutil.copytree(run / "adapter", work / "mlx")
    (work / "mlx" / "adapter_model.safetensors").rename(work / "mlx" / "adapters.safetensors")
    told = "mlx is an adapter of mlx-lm, and --backend torch takes those of PEFT"
    with pytest.raises(UsageError, match=told) as caught:
        open_generator(ModelSource(adapter=Path("mlx")))
    assert caught.value.hint == "scc export mlx --to DIR --format peft makes one"


def test_an_adapter_of_another_model_is_one_line(run: Path, tmp_path: Path) -> None:
    other = make_base(tmp_path / "other")
    for change in ({"intermediate_size": 128}, {"num_hidden_layers": 6}):
        config = transformers.Qwen3Config.from_pretrained(other, **change)
        config.layer_types = ["full_attention"] * config.num_hidden_layers
        transformers.Qwen3ForCausalLM(config).save_pretrained(other)
        with pytest.raises(UsageError, match=r"is no adapter of .*other") as caught:
            open_generator(ModelSource(model=str(other), adapter=run))
        assert "\n" not in str(caught.value)
    (other / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(UsageError, match="other: no model that can be read"):
        open_generator(ModelSource(model=str(other)))


def test_without_the_package_it_says_what_installs_it(monkeypatch: pytest.MonkeyPatch, base: Path) -> None:
    monkeypatch.setattr("compressor_cli.backends.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="needs the package 'torch'"):
        open_generator(ModelSource(str(base)))
