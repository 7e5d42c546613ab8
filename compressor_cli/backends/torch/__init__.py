"""Training through TRL and PEFT, on CUDA, MPS or a CPU, in one process or, under torchrun, in several; generation
through transformers and PEFT, in one."""

from __future__ import annotations

from compressor_cli.backends import BACKENDS
from compressor_cli.core.generation import Generator, ModelSource
from compressor_cli.core.training import Launch, RunReport, TrainJob
from compressor_cli.errors import MissingExtraError

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate")


def conduct(job: TrainJob, launch: Launch) -> RunReport:
    """Under torchrun every process calls this with the same job; the first one alone writes, and tells anything."""
    from compressor_cli.backends.torch.conducting import conduct as conducted

    return conducted(job, launch, PACKAGES)


def open_generator(source: ModelSource) -> Generator:
    """Raises UsageError or SccError for what is missing or cannot be loaded."""
    if missing := BACKENDS["torch"].missing_packages():
        raise MissingExtraError(missing[0], "torch")
    from compressor_cli.backends.torch.generating import TorchGenerator

    return TorchGenerator(source)
