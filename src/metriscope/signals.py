"""Signals that ask a process or a run to stop, notices of a cluster, and how dataloader workers handle them."""

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from metriscope.errors import Exit, Interrupted

# `--signal` and submitit send these when the time of a job is up, or another job takes its place.
NOTICES = (signal.SIGUSR1, signal.SIGUSR2)

# Until a signal that arrived within a finalizer is handled again.
_AGAIN_SECONDS = 0.01

Handler = Callable[[int, FrameType | None], object]


def notices() -> tuple[signal.Signals, ...]:
    """The signals that tell a job to save its state and return to the queue; empty outside of jobs."""
    return NOTICES if {"SLURM_JOB_ID", "SUBMITIT_EXECUTOR"} & os.environ.keys() else ()


def requests() -> tuple[signal.Signals, ...]:
    """The signals that ask to stop: Ctrl-C, SIGTERM, and SIGHUP when a terminal closes, unless ``nohup`` ignores it."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *(() if ignored else (signal.SIGHUP,)))


def handlers_can_be_set() -> bool:
    """Whether this is the main thread: Python sets signal handlers, and calls them, in no other."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def answered_by(handler: Handler, numbers: Sequence[int] | None = None) -> Iterator[None]:
    """Sets ``handler`` for the duration of a ``with`` block; does nothing outside the main thread.

    What :func:`raise_interrupt` raises within a finalizer, where Python drops exceptions, is raised again after it.

    Args:
        handler: called with the number of the signal.
        numbers: of the signals; by default :func:`requests`.
    """
    chosen = requests() if numbers is None else numbers
    previous = {number: signal.getsignal(number) for number in chosen} if handlers_can_be_set() else {}
    report = sys.unraisablehook

    def again(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, _Interrupt):
            # Not from here: Python drops exceptions of this function, too.
            timer = threading.Timer(
                _AGAIN_SECONDS, _thread.interrupt_main, [signal.Signals(unraisable.exc_value.number)]
            )
            timer.daemon = True
            timer.start()
        else:
            report(unraisable)

    for number in previous:
        signal.signal(number, handler)
    try:
        sys.unraisablehook = again if previous else report
        yield
    finally:
        sys.unraisablehook = report
        for number, before in previous.items():
            signal.signal(number, before)


def exit_on_requests() -> None:
    """From now on, a signal that asks to stop ends this process with one line and exit code 130.

    For the time when there is nothing to save. A handler that raises would not do: modules that are being imported
    catch any exception, or print it.
    """
    owner = os.getpid()

    def leave(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            with suppress(OSError):  # the terminal may be gone
                os.write(2, f"metriscope: {_told(number)}\n".encode())
        os._exit(Exit.INTERRUPTED)

    def ignore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    numbers = requests()
    for number in numbers:
        signal.signal(number, leave)
    # The first function that is registered is called last. After it the interpreter removes the handlers, and a
    # signal would kill a process that has done its work.
    atexit.register(ignore)


class _Interrupt(KeyboardInterrupt):
    def __init__(self, number: int) -> None:
        super().__init__(_told(number))
        self.number = number


def raise_interrupt(number: int, frame: FrameType | None) -> None:
    """A signal handler that stops as Ctrl-C does."""
    raise _Interrupt(number)


def _told(number: int) -> str:
    return f"stopped by {signal.Signals(number).name}"


class Stop:
    """What signals have asked of a run.

    The first signal raises a KeyboardInterrupt at once, within :meth:`waiting` only the next :meth:`check` does. A
    second identical signal always raises; in a SLURM job only a second Ctrl-C does. A Ctrl-C and a SIGTERM count as one
    request, because Ctrl-C reaches all processes of a terminal and a sweep also forwards it as SIGTERM.

    Attributes:
        received: the signal that asked to stop; a notice of the scheduler replaces another signal.
        noticed: when the first notice came, in seconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.noticed: float | None = None
        self._numbers: tuple[int, ...] = ()
        self._owner = 0
        self._waits = self._holds = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Sets the handlers for the duration of a ``with`` block (main thread only)."""
        self._numbers = (*requests(), *notices()) if handlers_can_be_set() else ()
        self._owner = os.getpid()
        with answered_by(self._receive, self._numbers):
            yield

    def listen_again(self) -> None:
        """Sets the handlers that something else has replaced."""
        for number in self._numbers:
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        first = self.received is None
        again = self.received == number and (number == signal.SIGINT or not notices())
        if number in notices():
            self.received = number
            self.noticed = self.noticed or time.monotonic()
        elif first:
            self.received = number
        if self._holds or not (again or (first and not self._waits)):
            return
        if os.getpid() != self._owner:
            os._exit(Exit.INTERRUPTED)  # a process that was forked from this one has nothing to save
        raise_interrupt(number, frame)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Lets a first signal wait for :meth:`check`, which the end of the ``with`` block calls as well."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
        self.check()

    def hold(self) -> None:
        """From now on, signals are received and raise nothing."""
        self._holds = True

    def release(self) -> None:
        """End of :meth:`hold`, with a :meth:`check`."""
        self._holds = False
        self.check()

    def check(self) -> None:
        """Stop if a signal has asked for it.

        Raises:
            Interrupted: a signal was received.
        """
        if self.received is not None:
            raise Interrupted(self.received)


def spare_worker(worker: int) -> None:
    """Makes a dataloader worker ignore signals; the main process handles them.

    SLURM signals every process of a job, and a run cannot finish its step without its workers. A SIGTERM from the run
    itself still ends the worker.
    """
    run = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, (*requests(), *NOTICES))

    def obey() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != run:
            pass
        os._exit(0)

    threading.Thread(target=obey, daemon=True).start()
