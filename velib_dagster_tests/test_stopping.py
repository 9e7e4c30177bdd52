"""Asking a loop to stop: at once, as often as one likes, and with nothing left behind."""

import os
import signal
import threading

from velib_dagster.stopping import ASKING, asks_to_stop


def test_a_signal_sets_the_event_and_the_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in ASKING]
    given = threading.Event()
    with asks_to_stop(given) as stop:
        assert stop is given
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(10)
    assert [signal.getsignal(number) for number in ASKING] == before


def test_elsewhere_than_in_the_main_thread_nothing_changes() -> None:
    before = [signal.getsignal(number) for number in ASKING]
    found: list[object] = []

    def look() -> None:
        with asks_to_stop() as stop:
            found.append(([signal.getsignal(number) for number in ASKING], stop.is_set()))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [(before, False)]


def test_the_main_thread_whose_wait_holds_the_lock_of_the_event_is_not_the_one_that_sets_it() -> None:
    class Locked(threading.Event):
        """An event whose `set` can only end once the main thread has gone on."""

        def set(self) -> None:
            assert main_goes_on.wait(10), "the main thread is stuck in its signal handler"
            super().set()

    main_goes_on = threading.Event()
    with asks_to_stop(Locked()) as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        main_goes_on.set()
        assert stop.wait(10)
