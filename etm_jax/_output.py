"""Standard output and error, which may be lost: what runs goes on without them."""

import os
import sys
from typing import Any


class Output:
    """A text stream for people; when it cannot be written to, what is written is dropped from then on.

    Args:
        stream: as `sys.stdout`; None, where a process has none, drops everything.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, with characters that the stream's encoding lacks escaped."""
        if self._stream is not None:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            except (OSError, ValueError):  # a closed pipe, a full disk; a closed file
                self._lose()
        return len(text)

    def flush(self) -> None:
        """Flush."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._lose()

    def isatty(self) -> bool:
        """Whether this is a terminal."""
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
        """How text is encoded."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def _lose(self) -> None:
        stream, self._stream = self._stream, None
        try:
            descriptor = stream.fileno() if stream else None
        except (OSError, ValueError):
            return
        if descriptor is not None:  # or else Python fails at exit, when it flushes what is left in the buffer
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)


def say(line: str) -> None:
    """One line on standard output."""
    _line(Output(sys.stdout), line)


def warn(line: str) -> None:
    """One line on standard error."""
    _line(Output(sys.stderr), line)


def _line(output: Output, line: str) -> None:
    output.write(f"{line}\n")
    output.flush()
