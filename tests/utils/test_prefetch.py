"""Working ahead in threads: order, errors in their place, bounded, and nothing left running."""

import threading
import time
from itertools import count, islice

import pytest

from pfvit.utils.prefetch import gather, prefetch, thread_map


@pytest.mark.parametrize("threads", [1, 3])
def test_results_keep_the_order_of_the_items(threads):
    def slow_for_even(number):
        time.sleep(0.002 * (number % 2 == 0))
        return number * number

    assert list(thread_map(slow_for_even, range(40), threads)) == [number * number for number in range(40)]
    assert list(thread_map(slow_for_even, [], threads)) == []


def test_several_threads_work_at_once():
    both = threading.Barrier(2, timeout=10)
    assert list(thread_map(lambda item: both.wait() is not None, range(8), 2)) == [True] * 8


def test_what_goes_wrong_comes_after_what_was_done_before():
    def fails_at_five(number):
        if number == 5:
            raise ZeroDivisionError
        return number

    results = thread_map(fails_at_five, range(20), 3)
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("work", [prefetch, lambda items: thread_map(lambda item: item, items, 2)])
def test_an_endless_source_is_read_a_little_ahead_and_let_go(work):
    taken, before = [], threading.active_count()

    def endless():
        for number in count():
            taken.append(number)
            yield number

    items = work(endless())
    assert list(islice(items, 10)) == list(range(10)) and len(taken) <= 10 + 6
    items.close()
    time.sleep(0.05)
    assert threading.active_count() == before


def test_what_a_source_gave_before_it_failed_is_not_lost():
    def breaks():
        yield from range(5)
        raise KeyError("the source's own")

    for work in (
        lambda: thread_map(str, breaks(), 3),
        lambda: (item for some in gather(breaks(), 4, 100, lambda item: 1) for item in some),
        lambda: prefetch(breaks()),
    ):
        got = []
        with pytest.raises(KeyError, match="the source's own"):
            for item in work():
                got.append(item)
        assert list(map(int, got)) == list(range(5))


def test_items_may_be_anything_even_errors_and_none():
    items = [None, ValueError("an item"), 3]
    assert list(prefetch(items)) == items

    def breaks():
        yield 1
        raise KeyError("the source's own")

    with pytest.raises(KeyError, match="the source's own"):
        list(prefetch(breaks()))


def test_gathered_by_number_and_by_size():
    assert list(gather(range(7), 3, 100, lambda item: 1)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(gather([5, 1, 1, 9, 1], 10, 6, lambda item: item)) == [[5, 1], [1, 9], [1]]
