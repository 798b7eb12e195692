"""Docstrings say `Example:`; the parser of the API pages knows `Examples:`, and shows doctests well only there."""

import re
from typing import Any

import griffe


class ExamplesSection(griffe.Extension):
    """Read an `Example:` section of a docstring as `Examples:`."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for every object that was loaded."""
        del kwargs
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
