"""`scc export`: what is taken, where it goes, what is told; and GGUF by a stand-in for llama.cpp's converter."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import Scc
from numpy_adapters import BASE, write_base, write_mlx_folder, write_peft_folder, write_run

from compressor_cli.core.modelcard import CardFacts, model_card
from compressor_cli.stages.export.target import beside, clear_left

CARD = "compressor_cli.stages.export.model_card"


def test_a_run(scc: Scc, work: Path) -> None:
    write_run(work / "runs/first")
    result = scc("export", "runs/first", "--to", "out", "--format", "mlx", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert (told["format"], told["source"], told["base"], told["pushed"]) == ("mlx", "runs/first", BASE, None)
    files = {path.name: path.stat().st_size for path in (work / "out").iterdir()}
    assert told["files"] == {name: size for name, size in files.items() if name != "export.json"}
    manifest = json.loads((work / "out/export.json").read_text())
    assert manifest["prompt"] == {"system": "Compress the text.", "prefix": None}
    assert not [path for path in work.iterdir() if path.name.startswith(".")]


def test_what_is_told(scc: Scc, work: Path) -> None:
    write_mlx_folder(work / "adapter")
    result = scc("export", "adapter", "--to", "out", "--format", "peft")
    sizes = {path.name: path.stat().st_size for path in (work / "out").iterdir()}
    assert result.stdout.splitlines() == [
        f"out/{name}  {sizes[name]:,} bytes"
        for name in ("README.md", "adapter_config.json", "adapter_model.safetensors")
    ]


@pytest.mark.parametrize(
    "place",
    ["runs/first", "runs/first/adapter", "runs/first/checkpoints/step_00000002", "pipeline", "a.tar.gz", "a.zip"],
)
def test_what_is_taken(scc: Scc, work: Path, place: str) -> None:
    run = write_run(work / "runs/first")
    shutil.copytree(run / "adapter", run / "checkpoints/step_00000002")
    write_run(work / "pipeline/last")
    (work / "pipeline/pipeline.json").write_text('{"stages": ["a", "last"], "result": "last"}')
    for name, form in (("a", "gztar"), ("a", "zip")):
        shutil.make_archive(str(work / name), form, run, "adapter")
    result = scc("export", place, "--to", "out", "--format", "mlx")
    assert (result.exit_code, result.stderr) == (0, "")
    card = (work / "out/README.md").read_text()
    assert ("Compress the text." in card) == (not place.startswith("a."))


def test_the_model_card(scc: Scc, work: Path) -> None:
    base = write_base(work / "base")
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Base\n")
    (work / "data").mkdir()
    (work / "data/manifest.json").write_text(json.dumps({"files": {}, "dataset": "me/rows"}))
    data = {"train": {"path": str(work / "data/train.jsonl"), "bytes": 9}}
    write_run(work / "run", base=str(base), data=data, command=f"scc train --model {base} --output=/tmp/x --lr 1")
    config = work / "run/adapter/adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": str(base)}))
    (work / "eval/first").mkdir(parents=True)
    ratio = {"value": 0.54123, "low": 0.52, "high": 0.56, "rows": 1200}
    nothing = {"value": None, "low": None, "high": None, "rows": 0}
    weights = hashlib.sha256((work / "run/adapter/adapter_model.safetensors").read_bytes()).hexdigest()
    made_by = {"backend": "torch", "adapter_sha256": {"adapter/adapter_model.safetensors": weights}, "metric": "words"}
    groups = {"overall": {"ratio_mean": ratio, "equivalence": nothing}}
    summary = {"asked": 1200, "measured": 1198, "settings": made_by, "groups": groups}
    (work / "eval/first/summary.json").write_text(json.dumps(summary))
    words = ["export", "run", "--to", "out", "--format", "peft", "--eval", "eval/first.jsonl"]
    result = scc(*words)
    assert result.exit_code == 0
    assert result.stderr == "note: the base is in a folder here, and is called base; --model NAME names it on the hub\n"
    card = (work / "out/README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "apache-2.0"
    assert (front["library_name"], front["datasets"]) == ("peft", ["me/rows"])
    assert "base_model" not in front  # a folder has no name on the hub
    for line in (
        "| ratio\\_mean | 0.5412 (0.52 to 0.56) |", "| rows (measured) | 1,198 |", "| learning\\_rate | 0.0001 |",
        "| validation loss | 2.5000 |", "| similarity by | words |", "- Rank: 2",
        "scc train --model base --output=x --lr 1",
    ):  # fmt: skip
        assert line in card.splitlines()
    for page in ("README.md", "adapter_config.json", "export.json"):
        assert str(work) not in (work / "out" / page).read_text()
    scc(*words, "--force", "--license", "mit", "--model", "me/base")
    front = yaml.safe_load((work / "out/README.md").read_text().split("---\n")[1])
    assert (front["license"], front["base_model"], front["base_model_relation"]) == ("mit", "me/base", "adapter")


def test_figures_of_other_weights_are_told_to_be(scc: Scc, work: Path) -> None:
    write_run(work / "run")
    ratio = {"value": 0.5, "low": None, "high": None, "rows": 2}
    summary = {"asked": 2, "measured": 2, "settings": {"backend": "embedded"}, "groups": {"overall": {"ratio": ratio}}}
    (work / "summary.json").write_text(json.dumps(summary))
    result = scc("export", "run", "--to", "out", "--format", "peft", "--eval", "summary.json")
    assert result.stderr == "note: --eval measured other files of weights than these; the model card says so\n"
    card = (work / "out/README.md").read_text().splitlines()
    assert "By `scc eval` (summary.json, backend embedded), with 95 % intervals:" in card
    assert "The files of weights that were measured are not those that this was made from." in card
    (work / "summary.json").write_text('{"asked": 2}')
    refused = scc("export", "run", "--to", "new", "--format", "peft", "--eval", "summary.json")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "error: --eval summary.json: summary.json is no summary of an eval\n",
    )


def test_a_card_that_someone_else_wrote_cannot_break_out(scc: Scc, work: Path) -> None:
    write_run(
        work / "run",
        base='x": y\n<script>',
        prompt={"system": "```\n# Title\n````", "prefix": None},
        command="a | b\nc",
    )
    scc("export", "run", "--to", "out", "--format", "peft", "--license", "a: b\n- c")
    card = (work / "out/README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "a: b\n- c"
    assert "`````text\n```\n# Title\n````\n`````" in card


def test_a_model_that_was_trained_whole(scc: Scc, work: Path) -> None:
    run = write_run(work / "run", "mlx")
    shutil.rmtree(run / "adapter")
    model = write_base(run / "adapter")
    result = scc("export", "run", "--to", "out", "--format", "merged")
    assert (result.exit_code, result.stderr) == (0, "")
    assert (work / "out/model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert "_name_or_path" not in json.loads((work / "out/config.json").read_text())
    assert yaml.safe_load((work / "out/README.md").read_text().split("---\n")[1])["library_name"] == "transformers"
    refused = scc("export", "run", "--to", "peft", "--format", "peft")
    assert (refused.exit_code, (work / "peft").exists()) == (2, False)


def test_code_of_a_model_is_not_copied_and_that_is_told(scc: Scc, work: Path) -> None:
    base = write_base(work / "base", auto_map={"AutoModel": "code.Model"})
    (base / "code.py").write_text("raise SystemExit")
    write_peft_folder(work / "adapter")
    result = scc("export", "adapter", "--to", "out", "--format", "merged", "--model", "base")
    assert result.stderr == "note: the model brings code of its own (auto_map), which is not copied\n"
    assert not (work / "out/code.py").exists()


REFUSED = [
    (["nothing", "--format", "peft"], "error: nothing: no such run, adapter or archive"),
    (["empty", "--format", "peft"], "error: empty holds neither an adapter nor a model"),
    (["unfinished", "--format", "peft"], "error: unfinished has no result: its state is stopped"),
    (["words", "--format", "peft"], "error: words is a prose model, which is used as it is"),
    (["adapter/adapter_config.json", "--format", "peft"], "is a file, and no archive"),
    (["base", "--format", "peft"], "error: base is a whole model, and there is no adapter in it"),
    (["adapter", "--format", "gguf"], "error: --format gguf needs convert_hf_to_gguf.py of llama.cpp"),
    (["adapter", "--format", "merged", "--model", "gone/away/base"], "error: the base model is not in gone/away/base"),
    (["adapter", "--format", "merged"], "error: model 'me/base' is neither a folder nor in the cache"),
    (["adapter", "--format", "peft", "--public"], "error: --public goes with --push"),
    (
        ["adapter", "--format", "peft", "--eval", "eval.jsonl"],
        "error: --eval eval.jsonl: there is no eval/summary.json",
    ),
    (["adapter", "--format", "peft", "--push", "me/x"], "error: no API key for the Hugging Face hub"),
    (["full", "--format", "peft"], "error: --to out is not empty"),
    (["adapter", "--format", "peft", "--to", "sub/.."], "error: --to sub/.. holds what is exported"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[message.split(": ")[-1][:40] for _, message in REFUSED])
def test_what_is_refused(scc: Scc, work: Path, words: list[str], message: str) -> None:
    write_peft_folder(work / "adapter")
    write_base(work / "base")
    (work / "empty").mkdir()
    write_run(work / "words", backend="extractive")
    shutil.rmtree(write_run(work / "unfinished", state="stopped") / "adapter")
    if words[0] == "full":
        words = ["adapter", *words[1:]]
        (work / "out").mkdir()
        (work / "out/notes.txt").write_text("mine")
    before = sorted(work.rglob("*"))
    result = scc("export", words[0], "--to", "out", *words[1:])
    assert result.exit_code == (1 if "nor in the cache" in message else 2)
    assert message in result.stderr.splitlines()[0]
    assert len([line for line in result.stderr.splitlines() if not line.startswith("hint: ")]) == 1
    assert sorted(work.rglob("*")) == before


def test_force_replaces_exports_only(scc: Scc, work: Path) -> None:
    write_peft_folder(work / "adapter")
    words = ["export", "adapter", "--to", "out", "--format", "mlx"]
    assert scc(*words).exit_code == 0
    assert scc(*words).exit_code == 2
    (work / "out/left.txt").write_text("of the export before")
    assert scc(*words, "--force").exit_code == 0
    assert not (work / "out/left.txt").exists()
    (work / "out/export.json").unlink()
    refused = scc(*words, "--force")
    assert (refused.exit_code, refused.stderr.splitlines()[0]) == (
        2,
        "error: --to out holds files that no export wrote",
    )


@pytest.mark.parametrize("to", ["run", "run/adapter", ".", "base"])
def test_what_is_read_is_never_replaced(scc: Scc, work: Path, to: str) -> None:
    base = write_base(work / "base")
    write_run(work / "run", base=str(base))
    for folder in (work, work / "run", work / "run/adapter", base):
        (folder / "export.json").write_text('{"format": "scc-export-1", "prompt": null}')
    words = ["export", "run", "--to", to, "--format", "peft", "--model", str(base), "--force"]
    refused = scc(*words)
    assert (refused.exit_code, refused.stderr.splitlines()[0]) == (2, f"error: --to {to} holds what is exported")


def test_the_folder_one_is_in(scc: Scc, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_peft_folder(work / "adapter")
    (work / "here").mkdir()
    monkeypatch.chdir(work / "here")
    refused = scc("export", "../adapter", "--to", ".", "--format", "mlx")
    assert (refused.exit_code, refused.stderr.splitlines()[0]) == (2, "error: --to . is the folder that you are in")


def test_another_export_to_the_same_place(scc: Scc, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_peft_folder(work / "adapter")

    def meanwhile(facts: CardFacts) -> str:
        (work / "out").mkdir()
        (work / "out/theirs").touch()
        return model_card(facts)

    monkeypatch.setattr(CARD, meanwhile)
    refused = scc("export", "adapter", "--to", "out", "--format", "mlx")
    assert refused.exit_code == 2
    assert "was filled by another process meanwhile" in refused.stderr
    assert [path.name for path in (work / "out").iterdir()] == ["theirs"]


def test_a_failure_leaves_what_was_there(scc: Scc, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_peft_folder(work / "adapter")
    words = ["export", "adapter", "--to", "out", "--format", "mlx"]
    assert scc(*words).exit_code == 0
    before = {path: path.read_bytes() for path in (work / "out").iterdir()}

    def fail(facts: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CARD, fail)
    result = scc(*words, "--force")
    assert (result.exit_code, result.stderr) == (1, "error: out: No space left on device\n")
    assert {path: path.read_bytes() for path in (work / "out").iterdir()} == before
    assert sorted(path.name for path in work.iterdir()) == ["adapter", "out"]


def test_what_a_killed_export_left_goes(scc: Scc, work: Path) -> None:
    write_peft_folder(work / "adapter")
    words = ["export", "adapter", "--to", "out", "--format", "mlx"]
    assert scc(*words).exit_code == 0
    # Killed between two renames, and long before.
    (work / "out").rename(work / ".out.abcdefgh.old")
    for name in ("abcdefgh", "ijklmnop"):
        (work / f".out.{name}.tmp/deep").mkdir(parents=True)
    (work / ".other.abcdefgh.tmp").mkdir()
    refused = scc(*words)
    assert refused.exit_code == 2 and "is not empty" in refused.stderr, "the earlier export is back"
    assert sorted(path.name for path in work.iterdir()) == [".other.abcdefgh.tmp", "adapter", "out"]
    (work / ".out.abcdefgh.old").mkdir()
    assert scc(*words, "--force").exit_code == 0
    assert sorted(path.name for path in work.iterdir()) == [".other.abcdefgh.tmp", "adapter", "out"]


def test_what_another_export_is_at_stays(work: Path) -> None:
    with beside(work / "out") as theirs:
        clear_left(work / "out")
        assert theirs.is_dir()
    assert not theirs.exists()


@pytest.mark.parametrize("form", ["mlx", "peft"])
def test_an_export_of_an_export_keeps_the_prompt(scc: Scc, work: Path, form: str) -> None:
    write_run(work / "runs/first")
    assert scc("export", "runs/first", "--to", "out", "--format", "peft").exit_code == 0
    assert scc("export", "out", "--to", "again", "--format", form).exit_code == 0
    asked = {"system": "Compress the text.", "prefix": None}
    assert json.loads((work / "again/export.json").read_text())["prompt"] == asked
    assert "Compress the text." in (work / "again/README.md").read_text()
    shutil.make_archive(str(work / "a"), "zip", work / "again")
    assert scc("export", "a.zip", "--to", "third", "--format", "peft").exit_code == 0
    assert json.loads((work / "third/export.json").read_text())["prompt"] == asked


def test_the_card_of_a_checkpoint_is_of_its_step(scc: Scc, work: Path) -> None:
    run = write_run(work / "runs/first", steps_done=9)
    shutil.copytree(run / "adapter", run / "checkpoints/step_00000002")
    rows = [{"step": step, "loss": step + 0.5} for step in range(1, 10)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert scc("export", run / "checkpoints/step_00000002", "--to", "out", "--format", "mlx").exit_code == 0
    card = (work / "out/README.md").read_text()
    assert "| steps | 2 |" in card and "| loss | 2.5000 |" in card


def test_a_place_below_a_file(scc: Scc, work: Path) -> None:
    write_peft_folder(work / "adapter")
    (work / "file").touch()
    done = scc("export", "adapter", "--to", "file/out", "--format", "mlx")
    assert done.exit_code == 2 and "file is not a folder" in done.stderr


# A stand-in for llama.cpp's converter, which is not installed: it checks its arguments and its input, and no more.
CONVERTER = """\
import json, pathlib, sys
model, *flags = sys.argv[1:]
assert flags[0::2] == ["--outfile", "--outtype"] and flags[3] == "auto", flags
assert json.loads(pathlib.Path(model, "config.json").read_text())["model_type"] == "qwen3"
assert pathlib.Path(model, "model.safetensors").stat().st_size and pathlib.Path(model, "tokenizer.json").is_file()
pathlib.Path(flags[1]).write_bytes(b"GGUF")
"""


@pytest.fixture
def merged_words(work: Path) -> list[str]:
    write_base(work / "base")
    write_peft_folder(work / "adapter")
    return ["export", "adapter", "--model", "base", "--to", "out", "--format", "gguf"]


def test_gguf_by_the_folder_of_llama_cpp(
    scc: Scc, work: Path, merged_words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "llama.cpp").mkdir()
    monkeypatch.setenv("LLAMA_CPP_DIR", "llama.cpp")
    refused = scc(*merged_words)
    assert refused.stderr.startswith("error: LLAMA_CPP_DIR llama.cpp: there is no convert_hf_to_gguf.py")
    (work / "llama.cpp/convert_hf_to_gguf.py").write_text(CONVERTER)
    result = scc(*merged_words)
    assert (result.exit_code, result.stderr) == (0, "converting to GGUF\n")
    assert (work / "out/model.gguf").read_bytes() == b"GGUF"
    assert sorted(path.name for path in (work / "out").iterdir()) == ["README.md", "export.json", "model.gguf"]


def test_gguf_by_a_program_on_the_path(
    scc: Scc, work: Path, merged_words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "bin").mkdir()
    script = work / "bin/convert_hf_to_gguf.py"
    script.write_text(f"#!{sys.executable}\n{CONVERTER}")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(work / "bin"))
    assert scc(*merged_words).exit_code == 0
    assert (work / "out/model.gguf").is_file()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; print('model not supported', file=sys.stderr); sys.exit(3)", "ended with 3: model not supported"),
        ("import no_such_package", "ended with 1: ModuleNotFoundError: No module named 'no_such_package'"),
        ("pass", "ended with 0: nothing was said"),
    ],
)
def test_a_converter_that_fails(
    scc: Scc, work: Path, merged_words: list[str], monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    (work / "convert_hf_to_gguf.py").write_text(code)
    monkeypatch.setenv("LLAMA_CPP_DIR", str(work))
    result = scc(*merged_words)
    assert result.exit_code == 1
    assert f"error: convert_hf_to_gguf.py {message}" in result.stderr.splitlines()
    assert not (work / "out").exists()
    assert not list(work.glob(".out*"))


def test_a_signal_leaves_nothing(
    work: Path, merged_words: list[str], processes: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "convert_hf_to_gguf.py").write_text("import time, pathlib; pathlib.Path('begun').touch(); time.sleep(60)")
    monkeypatch.setenv("LLAMA_CPP_DIR", str(work))
    process = subprocess.Popen([sys.executable, "-m", "compressor_cli", *merged_words], stderr=subprocess.PIPE)
    processes.append(process)
    deadline = time.monotonic() + 60
    while not (work / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert not (work / "out").exists()
    assert not list(work.glob(".out*"))
