"""What holds for all tests."""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """SIGINT interrupts these tests and the processes that they start, also where a shell has put them into the
    background, which makes a process ignore it and all that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def run(capsys):
    """Runs the command line in this process: its exit status, and what it wrote to both outputs."""
    from microgpt.cli import main  # here, as most tests need none of it

    def run(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run
