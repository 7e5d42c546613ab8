"""Semantic compression: fewer tokens, the same meaning to the model that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Receipt", "__version__", "check_facts", "compress", "expand", "materialize_hf_chat_dataset"]

if TYPE_CHECKING:
    from compressor_cli.core.facts import check_facts
    from compressor_cli.engines.compress import compress
    from compressor_cli.engines.expand import expand
    from compressor_cli.records import Receipt
    from compressor_cli.stages.pull import materialize_hf_chat_dataset

_HOME = {
    "Receipt": "compressor_cli.records",
    "check_facts": "compressor_cli.core.facts",
    "compress": "compressor_cli.engines.compress",
    "expand": "compressor_cli.engines.expand",
    "materialize_hf_chat_dataset": "compressor_cli.stages.pull",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that importing the package costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
