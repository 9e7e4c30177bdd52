"""Ctrl-C and SIGTERM ask a loop to end between two steps, instead of breaking into one.

Used by everything that runs until it is asked to stop: the supervisor, the streaming job, the commands that loop.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

ASKING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def asks_to_stop(event: threading.Event | None = None) -> Iterator[threading.Event]:
    """While it lasts, SIGINT and SIGTERM set the event, or a new one; elsewhere than in the main thread they don't.

    A handler runs in the main thread between any two of its steps, so it must take no lock that this thread may hold,
    and `Event.set` takes the one that `Event.wait` holds. It puts the signal into a queue, which is safe there
    (https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put), and a thread sets the event.
    """
    stop = event or threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signals: SimpleQueue[int | None] = SimpleQueue()

    def listen() -> None:
        while signals.get() is not None:
            stop.set()

    threading.Thread(target=listen, name="asked to stop", daemon=True).start()
    usual = {number: signal.signal(number, lambda number, _: signals.put(number)) for number in ASKING}
    try:
        yield stop
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        signals.put(None)
