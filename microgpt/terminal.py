"""What people see of a run: its lines, its log, its progress; and how they end it.

Only this module and the command line print.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TextIO

from .errors import ConfigError

PATIENCE = 2  # seconds that a second Ctrl-C may go unheard
EARLY_PATIENCE = 0.3  # and a first one while nothing has been computed that could be kept
LONGEST = 1000  # characters of a line on standard error; words of a command line may be longer


class Interrupts:
    """Ctrl-C while the block runs. The first is remembered in `come`, to be asked between two steps, and calls `stop`,
    which ends a call of the core. The second raises KeyboardInterrupt; where that is not heard, the process ends. So it
    does at the first while `early` says, with its last line, that there is nothing yet to be ended well.

    Raised at once, the first could come up inside a callback of the garbage collector, where Python drops it. Python
    looks for signals between two of its own instructions only, so a thread listens too: it is told of them at once.
    """

    def __init__(self) -> None:
        self.come = False
        self.stop: Callable[[], None] | None = None
        self.early: Callable[[], str] | None = None
        self._before: Any = None
        self._over = threading.Event()

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
            self._ears, mouth = os.pipe()
            os.set_blocking(mouth, False)
            self._before_mouth = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
            self._mouth = mouth
            self._listener = threading.Thread(target=self._listen, daemon=True)
            self._listener.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            self._over.set()
            signal.signal(signal.SIGINT, self._before)
            signal.set_wakeup_fd(self._before_mouth)
            os.write(self._mouth, b"\0")
            self._listener.join()
            os.close(self._mouth)
            os.close(self._ears)

    def _handle(self, number: int, frame: object) -> None:
        if self.come:
            raise KeyboardInterrupt
        self.come = True

    def _listen(self) -> None:
        heard = 0
        while (signals := os.read(self._ears, 64)) and not self._over.is_set():
            heard += signals.count(signal.SIGINT)
            if heard == 1 and self.stop is not None:
                self.stop()
            elif heard == 1 and not self._over.wait(EARLY_PATIENCE) and (early := self.early) is not None:
                with suppress(OSError, ValueError):
                    flush()
                self._end(early())
            if heard > 1 and not self._over.wait(PATIENCE):
                self._end("interrupted, in the middle of a step")

    def _end(self, message: str) -> None:
        with suppress(OSError):
            os.write(2, f"microgpt: {message}\n".encode())
        os._exit(130)  # as a kill would end it, which loses nothing that was kept

    def check(self) -> None:
        """KeyboardInterrupt if it has come."""
        if self.come:
            raise KeyboardInterrupt

    def later(self) -> None:
        """In the place of `check` where what is going on has to come to its end."""


class Output:
    """The lines on standard output, the logs, and a progress line on standard error when that is a terminal."""

    def __init__(self, logs: Sequence[TextIO], steps: int, first: int = 0, every: int = 1, quiet: bool = False) -> None:
        self._logs = logs
        self._steps = steps
        self._first = first  # steps that were taken before
        self._every = every
        self._quiet = quiet
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._shares = sys.stdout is not None and sys.stdout.isatty()  # its lines come where the progress stands
        self._text = ""
        self._shown = False
        self._last: deque[float] = deque(maxlen=max(1, steps // 10))  # losses
        self._taken = 0
        self._started = self._drawn = time.monotonic()

    def line(self, text: str) -> None:
        """Print a line."""
        if self._shares:
            self.clear()
        print(text)

    def detail(self, text: str) -> None:
        """Print a line that a quiet run has not."""
        if not self._quiet:
            self.line(text)

    def remark(self, text: str) -> None:
        """Say something to whoever reads along on a terminal; a quiet run says nothing."""
        if text and self._terminal and not self._quiet:
            self.clear()
            flush()
            complain(text)

    def event(self, event: str, **fields: object) -> None:
        """Write to the logs."""
        for log in self._logs:
            try:
                log.write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\n")
            except OSError as error:
                raise ConfigError(f"cannot write the log {log.name}: {error.strerror}") from error

    def step(self, number: int, loss: float) -> None:
        """A step was taken."""
        self.event("step", step=number, loss=loss)
        self._last.append(loss)
        self._taken += 1
        if number % self._every == 0 or number == self._steps:
            self.detail(f"step {number:4d} / {self._steps:4d} | loss {loss:.4f}")
        self._progress(number, loss)

    def _progress(self, step: int, loss: float) -> None:
        """Shown from the second second on, made anew at most four times a second, the last line of a terminal."""
        if not self._terminal or step == self._steps:
            return
        now = time.monotonic()
        if now - self._started <= 1:
            return
        if now - self._drawn > 0.25:
            speed = (step - self._first) / (now - self._started)
            left = (self._steps - step) / speed
            rate = f"{speed:.0f} steps/s" if speed >= 10 else f"{speed:.2g} steps/s"
            parts = [f"{step}/{self._steps} steps", f"loss {loss:.4f}", rate, f"{left:.0f} s left"]
            while len(parts) > 1 and len(", ".join(parts)) >= _columns():
                parts.pop()
            self._text = ", ".join(parts)[: _columns() - 1]
            self._drawn = now
        elif self._shown:
            return
        flush()
        sys.stderr.write(f"\r\x1b[K{self._text}")
        sys.stderr.flush()
        self._shown = True

    def summary(self) -> str:
        """How many steps were taken until now, in what time, with what loss; empty if none was."""
        if not self._last:
            return ""
        seconds, mean = time.monotonic() - self._started, sum(self._last) / len(self._last)
        return f"{self._taken} steps in {seconds:.2f} s; mean loss of the last {len(self._last)}: {mean:.4f}"

    def clear(self) -> None:
        """Take the progress line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False


def _columns() -> int:
    """The width of the terminal, of which a longer line would leave pieces behind."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80


def flush() -> None:
    """Standard output is where it belongs before something else is said."""
    if sys.stdout is not None:
        sys.stdout.flush()


def complain(message: str) -> None:
    """One line on standard error, whatever the message holds."""
    if len(message) > LONGEST:
        message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    if sys.stderr is not None:
        print(f"microgpt: {line}", file=sys.stderr)
