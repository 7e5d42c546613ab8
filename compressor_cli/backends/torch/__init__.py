"""Training through TRL and PEFT, on CUDA, MPS or a CPU, in one process or, under torchrun, in several."""

from __future__ import annotations

from compressor_cli.core.training import Launch, RunReport, TrainJob

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate")


def conduct(job: TrainJob, launch: Launch) -> RunReport:
    """Under torchrun every process calls this with the same job; the first one alone writes, and tells anything."""
    from compressor_cli.backends.torch.conducting import conduct as conducted

    return conducted(job, launch, PACKAGES)
