"""diffmig: differentiable models of regional migration and socio-economic development in JAX.

Chapters, in flow order; a chapter imports only from those before it and is loaded on first use.
"""

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

# flow order, checked by tests/test_layers.py
__all__ = [  # noqa: RUF022
    "data",
    "towns",
    "migration",
    "human_capital",
    "smoothing",
    "networks",
    "optimize",
    "fit",
    "evaluate",
    "explain",
    "report",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; chapters: {__all__}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
