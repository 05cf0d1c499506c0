"""What holds for all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """SIGINT interrupts these tests and the processes that they start, also where a shell has put them into the
    background, which makes a process ignore it and all that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
