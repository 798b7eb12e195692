"""Ctrl-C, SIGTERM and SIGHUP as a request to stop, so that the work under way can be finished and saved."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def interrupts(signals: Sequence[signal.Signals] = (signal.SIGINT, *ENDINGS)) -> Iterator[threading.Event]:
    """Turn signals into a request to stop after the chunk under way; a second Ctrl-C stops at once.

    Ignored signals, such as SIGHUP under nohup, stay ignored.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def request(number: int, frame: FrameType | None) -> None:
        del frame
        event.set()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {number: signal.getsignal(number) for number in signals}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, request)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set by Python
