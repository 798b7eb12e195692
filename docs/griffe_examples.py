"""What the API pages' parser does not know: docstrings that say `Example:`, and arguments described on one line.

It knows `Examples:`, and shows doctests well only there; of `a, b: text` it takes `a, b` for one argument's name.
"""

import re
from typing import Any

import griffe

ARGUMENTS = re.compile(r"^( +)(\w+(?:, \w+)+): (.*)$", flags=re.MULTILINE)


class ExamplesSection(griffe.Extension):
    """Read an `Example:` section of a docstring as `Examples:`, and give each argument a line of its own."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for every object that was loaded."""
        del kwargs
        if obj.docstring is None:
            return
        parameters = {parameter.name for parameter in obj.parameters} if isinstance(obj, griffe.Function) else set()

        def one_line_each(line: re.Match[str]) -> str:
            indent, names, text = line[1], line[2].split(", "), line[3]
            lines = [f"{indent}{name}: {text}" for name in names]
            return "\n".join(lines) if parameters.issuperset(names) else line[0]

        text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
        obj.docstring.value = ARGUMENTS.sub(one_line_each, text)
