"""Checkpoints: whole or skipped, whatever happened to them, and never more removed than was written."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor_cli.core import checkpoints
from compressor_cli.core.checkpoints import (
    STAGING,
    STATE,
    Checkpoint,
    Position,
    TornCheckpoint,
    check_checkpoint,
    checkpoint_name,
    latest_checkpoint,
    list_checkpoints,
    load_state,
    prune_checkpoints,
    save_checkpoint,
)
from compressor_cli.core.tensors import load_tensors, non_finite_tensor
from compressor_cli.errors import SccError, UsageError

SETTINGS = {"seed": 1}


def tensors_file(path: Path, **tensors: tuple[str, list[int], bytes]) -> None:
    """A safetensors file: dtype, shape and bytes by name."""
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def floats(*values: float) -> tuple[str, list[int], bytes]:
    return "F32", [len(values)], np.array(values, "<f4").tobytes()


def write(folder: Path) -> None:
    tensors_file(folder / "adapter" / "adapters.safetensors", a=floats(1, 2, 3))
    (folder / "optimizer.json").write_text('{"beta": 0.9}')


def save(folder: Path, step: int, write: Callable[[Path], None] = write) -> Checkpoint:
    return save_checkpoint(folder, Position(step // 10, step % 10, step), SETTINGS, write)


def test_what_is_saved_is_found(work: Path) -> None:
    saved = save(work, 25)
    assert saved.path == work / "step_00000025"
    found, notes = latest_checkpoint(work)
    assert found == saved and notes == []
    assert (saved.position, saved.settings) == (Position(2, 5, 25), SETTINGS)
    state = json.loads((saved.path / STATE).read_text())
    assert set(state) == {"format", "epoch", "step_in_epoch", "global_step", "settings", "files"}
    assert set(state["files"]) == {"adapter/adapters.safetensors", "optimizer.json"}
    assert load_state(saved, "adapter/adapters.safetensors")["a"].tolist() == [1, 2, 3]
    assert load_state(saved, "optimizer.json") == {"beta": 0.9}


def test_state_is_written_last_and_the_rename_is_the_end(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_sync, real_rename = checkpoints._sync, Path.rename

    def synced(path: Path) -> None:
        order.append(path.name)
        real_sync(path)

    def renamed(path: Path, target: Path) -> Path:
        order.append(f"rename {path.name}")
        return real_rename(path, target)

    monkeypatch.setattr(checkpoints, "_sync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    save(work, 1)
    assert order == [
        "adapters.safetensors",
        "optimizer.json",
        STATE,
        "adapter",
        STAGING,
        f"rename {STAGING}",
        work.name,
    ]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(path: Path) -> None:
    path.rename(path.with_name(".elsewhere"))
    path.symlink_to(".elsewhere")


def edit_state(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        (folder / STATE).write_text(json.dumps(json.loads((folder / STATE).read_text()) | changes))

    return edit


WEIGHTS = "adapter/adapters.safetensors"
TORN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no state": (lambda folder: (folder / STATE).unlink(), "state.json is missing"),
    "empty state": (lambda folder: (folder / STATE).write_text(""), "state.json is damaged"),
    "cut state": (
        lambda folder: (folder / STATE).write_text((folder / STATE).read_text()[:-2]),
        "state.json is damaged",
    ),
    "state that is a list": (lambda folder: (folder / STATE).write_text("[]"), "state.json is damaged"),
    "deep state": (lambda folder: (folder / STATE).write_text("[" * 100_000), "state.json is damaged"),
    "another format": (edit_state(format="x"), "not written by scc"),
    "another step": (edit_state(global_step=3), "is that of step 3"),
    "a step that is a text": (edit_state(global_step="20"), "damaged"),
    "no files": (edit_state(files={}), "it has no files"),
    "files outside": (edit_state(files={"../x": {"size": 1, "sha256": ""}}), "damaged"),
    "files from the root": (edit_state(files={"/etc/passwd": {"size": 1, "sha256": ""}}), "damaged"),
    "a missing file": (lambda folder: (folder / WEIGHTS).unlink(), "adapters.safetensors is missing"),
    "an empty file": (lambda folder: (folder / WEIGHTS).write_bytes(b""), "has 0 bytes of"),
    "a cut file": (lambda folder: cut(folder / WEIGHTS), "adapters.safetensors has"),
    "a flipped bit": (lambda folder: flip(folder / WEIGHTS), "is not what was written"),
    "a link": (lambda folder: link(folder / WEIGHTS), "adapters.safetensors is missing"),
    "a file put in": (lambda folder: (folder / "optimizer.pt").write_bytes(b"x"), "optimizer.pt was not written"),
}


@pytest.mark.parametrize("kind", TORN)
def test_a_torn_checkpoint_is_skipped_and_told(kind: str, work: Path) -> None:
    damage, reason = TORN[kind]
    save(work, 10)
    damage(save(work, 20).path)
    found, notes = latest_checkpoint(work)
    assert found and found.step == 10
    assert len(notes) == 1 and "step_00000020 is skipped" in notes[0] and reason in notes[0]
    assert isinstance(dict(list_checkpoints(work))[work / "step_00000020"], TornCheckpoint)


def test_foreign_and_empty_folders_are_skipped_and_told(work: Path) -> None:
    save(work, 10)
    (work / "step_00000090").mkdir()
    (work / "step_00000080").write_text("a file")
    (work / "checkpoint-500").mkdir()
    (work / STAGING).mkdir()
    (work / ".DS_Store").write_text("")
    found, notes = latest_checkpoint(work)
    assert found and found.step == 10
    told = "\n".join(notes)
    assert all(part in told for part in ("step_00000090", "step_00000080", "checkpoint-500", "cut off"))
    assert len(notes) == 4
    assert latest_checkpoint(work / "nowhere") == (None, [])


def test_a_hidden_file_of_a_desktop_changes_nothing(work: Path) -> None:
    (save(work, 10).path / ".DS_Store").write_text("x")
    assert latest_checkpoint(work)[0]


def test_a_checkpoint_of_other_settings_is_skipped(work: Path) -> None:
    save(work, 10)
    assert latest_checkpoint(work, SETTINGS)[0]
    found, notes = latest_checkpoint(work, {"seed": 2})
    assert found is None and "other settings" in notes[0]


def test_steps_are_ordered_as_numbers(work: Path) -> None:
    for step in (99_999_999, 100_000_000, 5):
        save(work, step)
    found, _ = latest_checkpoint(work)
    assert found and found.step == 100_000_000


def test_saving_over_a_valid_one_keeps_it_and_over_a_torn_one_sets_it_aside(work: Path) -> None:
    first = save(work, 10)
    before = (first.path / WEIGHTS).stat().st_ino
    assert save(work, 10) == first and (first.path / WEIGHTS).stat().st_ino == before
    cut(first.path / WEIGHTS)
    assert check_checkpoint(save(work, 10).path)
    assert {path.name for path in work.iterdir()} == {"step_00000010", "step_00000010.torn"}


def test_a_write_that_fails_leaves_nothing(work: Path) -> None:
    def broken(folder: Path) -> None:
        write(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        save(work, 1, broken)
    assert list(work.iterdir()) == []
    with pytest.raises(ValueError, match="without files"):
        save(work, 1, lambda folder: None)


@pytest.mark.parametrize(
    ("dtype", "raw"),
    [
        ("F32", np.array([1, math.nan], "<f4").tobytes()),
        ("F32", np.array([1, -math.inf], "<f4").tobytes()),
        ("F16", np.array([1, math.inf], "<f2").tobytes()),
        ("F64", np.array([math.nan, 1], "<f8").tobytes()),
        ("BF16", np.array([0x3F80, 0x7FC0], "<u2").tobytes()),
        ("BF16", np.array([0xFF80, 0], "<u2").tobytes()),
    ],
)
def test_weights_that_are_not_finite_are_never_saved(dtype: str, raw: bytes, work: Path) -> None:
    def bad(folder: Path) -> None:
        tensors_file(folder / "w.safetensors", good=floats(1), bad=(dtype, [2], raw))

    with pytest.raises(SccError, match=r"not finite \(bad\) at step 7"):
        save(work, 7, bad)
    assert list(work.iterdir()) == []


def test_tensors_are_read_as_they_are(work: Path) -> None:
    path = work / "t.safetensors"
    tensors_file(
        path,
        bf16=("BF16", [2, 1], np.array([0x3F80, 0xC040], "<u2").tobytes()),
        u32=("U32", [], (7).to_bytes(4, "little")),
        none=("F32", [0], b""),
    )
    loaded = load_tensors(path)
    assert loaded["bf16"].tolist() == [[1.0], [-3.0]] and loaded["bf16"].dtype == np.float32
    assert loaded["u32"] == 7 and loaded["none"].shape == (0,)
    assert non_finite_tensor(path) is None


def test_our_reading_is_that_of_the_library(work: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    given: dict[str, Any] = {
        "a": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
        "b": np.arange(5, dtype=np.int64),
    }
    numpy.save_file(given, work / "t.safetensors", metadata={"format": "np"})
    loaded = load_tensors(work / "t.safetensors")
    assert all(
        np.array_equal(loaded[name], value) and loaded[name].dtype == value.dtype for name, value in given.items()
    )


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_bytes_are_an_error_and_no_crash(junk: bytes, at: int) -> None:
    path = Path("t.safetensors")
    tensors_file(path, a=floats(1, 2), b=floats(3))
    data = path.read_bytes()
    path.write_bytes(data[:at] + junk)
    try:
        load_tensors(path)
    except SccError as exc:
        assert "t.safetensors" in str(exc)


class Planted:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("planted",)


@pytest.mark.parametrize("name", ["optimizer.pt", "optimizer.pkl", "optimizer.npz", "optimizer", "o.safetensors"])
def test_nothing_that_could_run_is_read(name: str, work: Path) -> None:
    saved = save(work, 1, lambda folder: tensors_file(folder / "w.safetensors"))
    (saved.path / name).write_bytes(pickle.dumps(Planted()))
    as_if = Checkpoint(saved.path, saved.position, saved.settings, {**saved.files, name: (1, "")})
    with pytest.raises(SccError, match=r"only \.safetensors and \.json|not a safetensors file"):
        load_state(as_if, name)
    assert not (work / "planted").exists()


def test_state_files_are_those_of_the_checkpoint(work: Path) -> None:
    saved = save(work, 1)
    with pytest.raises(UsageError, match=r"has no scheduler\.json"):
        load_state(saved, "scheduler.json")
    (work / "x.json").write_text("{}")
    with pytest.raises(UsageError, match="has no"):
        load_state(saved, "../x.json")
    (saved.path / "optimizer.json").write_text("[1]")
    with pytest.raises(SccError, match="JSON object"):
        load_state(saved, "optimizer.json")


def test_pruning_keeps_the_last(work: Path) -> None:
    for step in range(1, 7):
        save(work, step)
    assert [path.name for path in prune_checkpoints(work, 3)] == [checkpoint_name(step) for step in (1, 2, 3)]
    assert [path.name for path in prune_checkpoints(work, 1)] == [checkpoint_name(step) for step in (4, 5)]
    with pytest.raises(ValueError, match="at least 1"):
        prune_checkpoints(work, 0)


def test_pruning_touches_nothing_of_others(work: Path) -> None:
    for step in range(1, 6):
        save(work, step)
    (work / "step_00000001" / "notes.txt").write_text("mine")
    (work / "step_00000002" / STATE).unlink()
    (work / "checkpoint-3").mkdir()
    assert [path.name for path in prune_checkpoints(work, 1)] == ["step_00000003", "step_00000004"]
    assert {path.name for path in work.iterdir()} == {
        "step_00000001", "step_00000002", "step_00000005", "checkpoint-3"
    }  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["whole", *TORN]), min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 10**6))
def test_pruning_never_takes_the_newest_valid_one(kinds: list[str], keep: int, seed: int) -> None:
    folder = Path(f"p{seed}-{keep}-{random.random()}")
    for step, kind in enumerate(kinds, start=1):
        saved = save(folder, step * 10)
        if kind != "whole":
            TORN[kind][0](saved.path)
    before, _ = latest_checkpoint(folder)
    valid = [path for path, found in list_checkpoints(folder) if isinstance(found, Checkpoint)]
    removed = prune_checkpoints(folder, keep)
    after, _ = latest_checkpoint(folder)
    assert after == before
    if before is None:
        assert removed == []
    left = [path for path in valid if path.exists()]
    assert len(left) >= 1 or not valid
    assert len(left) <= keep
    assert set(valid) - set(left) <= set(removed)


SAVING = """
import sys
from pathlib import Path
from compressor_cli.core.checkpoints import Position, prune_checkpoints, save_checkpoint
folder, step = Path(sys.argv[1]), int(sys.argv[2])
def write(staged):
    (staged / "a").mkdir()
    for n in range(4):
        (staged / "a" / f"{n}.bin").write_bytes(bytes([step % 256]) * 200_000)
print("ready", flush=True)
while True:
    step += 1
    save_checkpoint(folder, Position(0, step, step), {}, write)
    prune_checkpoints(folder, 2)
    print(step, flush=True)
"""


def killed_while_saving(folder: Path, start: int, delay: float) -> int:
    """The last step that was told as saved."""
    child = subprocess.Popen([sys.executable, "-c", SAVING, str(folder), str(start)], stdout=subprocess.PIPE, text=True)
    assert child.stdout and child.stdout.readline() == "ready\n"
    time.sleep(delay)
    child.send_signal(signal.SIGKILL)
    told = child.communicate()[0].split()
    return int(told[-1]) if told else start


def kill_often(work: Path, times: int) -> None:
    rng, step = random.Random(7), 0
    for _ in range(times):
        told = killed_while_saving(work / "c", step, rng.uniform(0.005, 0.12))
        found, _ = latest_checkpoint(work / "c")
        step = found.step if found else 0
        assert step in (told, told + 1)
        assert not found or set((found.path / "a" / "0.bin").read_bytes()) == {step % 256}
        assert all(isinstance(each, Checkpoint) for _, each in list_checkpoints(work / "c"))
    assert step > 0
    save_checkpoint(work / "c", Position(0, 1, step + 1), {}, write)
    prune_checkpoints(work / "c", 1)
    assert [path.name for path in (work / "c").iterdir()] == [checkpoint_name(step + 1)]


def test_kill_9_in_the_middle_of_saves(work: Path) -> None:
    kill_often(work, 8)


@pytest.mark.slow
def test_kill_9_many_times(work: Path) -> None:
    kill_often(work, 100)
