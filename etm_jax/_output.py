"""Standard output and error that may break without stopping the program."""

import os
import sys
from typing import Any


class Output:
    """A text stream; once a write fails, all further text is dropped.

    Args:
        stream: such as `sys.stdout`; None (a process may have none) drops everything.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; characters that the stream cannot encode are escaped."""
        if self._stream is not None:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            except (OSError, ValueError):  # a closed pipe, a full disk; a closed file
                self._lose()
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._lose()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """The file descriptor.

        Raises:
            OSError: there is none.
        """
        if self._stream is None:
            raise OSError("no stream")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def _lose(self) -> None:
        stream, self._stream = self._stream, None
        try:
            descriptor = stream.fileno() if stream else None
        except (OSError, ValueError):
            return
        if descriptor is not None:  # otherwise Python fails at exit, when it flushes the rest of the buffer
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)


def say(line: str) -> None:
    """Print one line on standard output."""
    _line(Output(sys.stdout), line)


def warn(line: str) -> None:
    """Print one line on standard error."""
    _line(Output(sys.stderr), line)


def _line(output: Output, line: str) -> None:
    output.write(f"{line}\n")
    output.flush()
