"""How Sphinx builds these pages: ``make docs``, with every warning an error."""

from __future__ import annotations

import inspect
from typing import Any

import callboard

project = "callboard"
author = "The callboard authors"
version = release = callboard.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"callboard {release}"
html_copy_source = False

# Headings are targets, so that a link to a section that has gone is an error.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

nitpicky = True
# The docstrings speak of builtins and of what is not public; the standard library's pages are
# elsewhere, and a build needs no network.
nitpick_ignore_regex = [
    ("py:.*", r"(?!callboard\b)[A-Za-z_]\w*(\.\w+)*"),
]

default_role = None
autodoc_member_order = "bysource"
# Overloads are for type checkers: for people there is one signature, see _signature().
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
# One argument a line where they would not fit.
python_maximum_signature_line_length = 90


def _signature(
    _app: Any, what: str, _name: str, obj: Any, _options: Any, _text: str, _returns: str
) -> tuple[str, str] | None:
    """Show the annotations as they stand in the source, once, overloads or not."""
    if what not in {"function", "method"}:
        return None
    found = inspect.signature(obj)
    if what == "method":
        found = found.replace(parameters=list(found.parameters.values())[1:])
    text, _, returns = str(found).replace("'", "").partition(" -> ")
    return text, returns


def setup(app: Any) -> None:
    """Connect what this file adds to Sphinx."""
    app.connect("autodoc-process-signature", _signature)
