"""torch.compile's machinery (``torch._dynamo``): imported when something is compiled, not before.

``torch.optim`` imports it in every optimizer's constructor and step, to tell a compiler that traces
them where to stop. Where nothing is compiled nobody listens, and the import takes half as long as
that of all the rest of torch.
"""

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

import torch

NAME = "torch._dynamo"


class _Deferred(ModuleType):
    """The module without its content. It answers what ``torch.optim`` asks, as the real one does
    where nothing is compiled; all else fills it with its content first, in this very object."""

    @staticmethod
    def graph_break(*_: Any, **__: Any) -> None:
        pass

    @staticmethod
    def disable(function: Any, *_: Any, **__: Any) -> Any:
        return function

    def __getattr__(self, name: str) -> Any:
        if self.__class__ is _Deferred:  # its content asks, too, while it is being loaded
            self.__class__ = ModuleType
            self.__path__ = self.__spec__.submodule_search_locations
            self.__spec__.loader.exec_module(self)
            return getattr(self, name)
        raise AttributeError(f"module {NAME!r} has no attribute {name!r}")


def defer_compiler() -> None:
    """Let this process import ``torch._dynamo`` when it is used. Does nothing where it has been
    imported already."""
    if NAME in sys.modules or (spec := find_spec(NAME)) is None:
        return
    module = module_from_spec(spec)
    del module.__path__  # else its submodules would be imported without it
    module.__class__ = _Deferred
    sys.modules[NAME] = torch._dynamo = module
