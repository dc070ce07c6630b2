"""``AutoModel.from_pretrained(path)`` works after ``import chatsearcher``, which stays light.

The network must be registered with the Auto classes of ``transformers``; to import it for that
would bring in torch with every ``import chatsearcher``. So the registration waits until
``transformers`` has loaded its Auto classes, and happens then.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

AUTO_CLASSES = "transformers.models.auto.configuration_auto"
NETWORK = "chatsearcher.model"


def register_when_wanted() -> None:
    """Register the network now if the Auto classes are loaded, or else as soon as they are."""
    if AUTO_CLASSES in sys.modules and not _unfinished():
        importlib.import_module(NETWORK)
    elif not any(isinstance(finder, _Waiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Waiting())


def _unfinished(but: str = "") -> bool:
    """Whether a module of ``transformers`` is half imported; the network may need the rest."""
    return any(
        name.startswith("transformers.")
        and name != but
        and getattr(getattr(module, "__spec__", None), "_initializing", False)
        for name, module in list(sys.modules.items())
    )


class _Waiting(MetaPathFinder):
    """Finds nothing that would not be found: it looks on while ``transformers`` is imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith("transformers."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _ThenRegister(spec.loader, self)
        return spec


class _ThenRegister(Loader):
    def __init__(self, loader: Loader, finder: _Waiting) -> None:
        self.loader = loader
        self.finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        waiting = self.finder in sys.meta_path
        if waiting and AUTO_CLASSES in sys.modules and not _unfinished(but=module.__name__):
            sys.meta_path.remove(self.finder)
            if NETWORK not in sys.modules:  # else it is being imported, and registers by itself
                importlib.import_module(NETWORK)
