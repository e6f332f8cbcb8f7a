"""MODULE:ATTR on the command line: the Runtime that a module of the user's holds."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..runtime.runtime import Runtime


def load(target: str) -> Runtime:
    """Import the module, found from the working folder too, and return its Runtime.

    What the module itself raises is passed on.

    Raises:
        ConfigError: no MODULE:ATTR, or what is there is no Runtime.
        LookupError: there is no such module or name.

    """
    from ..runtime.runtime import Runtime

    module, colon, attribute = target.partition(":")
    if not (module and colon and attribute):
        msg = f"a Runtime is named as MODULE:ATTR, such as app:rt, got {target!r}"
        raise ConfigError(msg)
    if os.getcwd() not in sys.path:  # noqa: PTH109  (sys.path holds text)
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        found: object = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise
        msg = f"there is no module {module!r} here or among what is installed"
        raise LookupError(msg) from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            held = [each for each, value in vars(found).items() if isinstance(value, Runtime)]
            hint = f"; it holds {' and '.join(held)}" if held else ""
            msg = f"module {module!r} has no {attribute!r}{hint}"
            raise LookupError(msg)
        found = getattr(found, name)
    if not isinstance(found, Runtime):
        msg = f"{target} is no Runtime but a {type(found).__name__}: name the Runtime itself"
        raise ConfigError(msg)
    return found
