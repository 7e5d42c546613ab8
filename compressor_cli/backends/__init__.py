"""What can train and generate, by name; nothing of it is imported until it is used."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True, slots=True)
class Backend:
    """`packages` (import names) come with `extra`, and `module` cannot do without them."""

    module: str
    extra: str
    packages: tuple[str, ...]
    purpose: str

    def missing_packages(self) -> list[str]:
        return [name for name in self.packages if find_spec(name) is None]


BACKENDS = {
    "local": Backend(
        "compressor_cli.backends.mlx", "local", ("mlx", "mlx_lm"), "train and run on Apple silicon or a CPU"
    ),
    "tinker": Backend("compressor_cli.backends.tinker", "tinker", ("tinker",), "train and run in the Tinker cloud"),
    "torch": Backend(
        "compressor_cli.backends.torch",
        "torch",
        ("torch", "transformers", "trl", "peft", "accelerate"),
        "train and run on CUDA or a CPU",
    ),
    "extractive": Backend(
        "compressor_cli.backends.extractive",
        "torch",
        ("torch", "transformers", "onnx"),
        "train the embedded model",
    ),
    "openai": Backend(
        "compressor_cli.backends.openai", "providers", ("openai",), "run on any server that speaks OpenAI's interface"
    ),
}
