"""Call a function for all rows, by threads, with a progress bar."""

import itertools
import time

from joblib import Parallel, delayed, effective_n_jobs, parallel_config

from skimgclf._platform import end_with_parent
from skimgclf._terminal import make_bar
from skimgclf._validation import Rule, is_int

# Rows that a thread takes at once: enough that handing them over costs nothing beside
# decoding, few enough for the progress bar to move.
_MAX_CHUNK = 32

# Rows that take fewer seconds stay in one thread: most of them pass inside of Python's
# lock, for which several threads only wait. On two cores two threads take 1.8
# times as long as one for PNG of 28x28 (0.1 ms each), as long as one at 0.27 ms, and
# 0.6 times for JPEG of 500x375 (examples/benchmarks/loading.py).
_WORTH_A_THREAD = 300e-6

# The first row isn't timed, since Pillow imports its formats then. After it, single
# rows, so that slow rows get threads soon.
_FIRST_CHUNKS = (1, 1, 1, 8)


N_JOBS = Rule(
    "an int other than 0 or None (1, or joblib's)",
    lambda value: value is None or (is_int(value, minimum=-(2**31)) and value != 0),
    (0, 1.5, "two", True),
)


def count_threads(n_jobs):
    """Count the threads that joblib's `n_jobs` means in this process.

    Parameters
    ----------
    n_jobs : int or None
        As in joblib.

    Returns
    -------
    n_threads : int
    """
    if n_jobs == 1:
        return 1  # whatever the context; asked for each batch that is streamed
    n_jobs = _make_parallel(n_jobs).n_jobs
    # In a context of Dask or Ray, the workers of the whole cluster would be counted.
    with parallel_config(backend="threading"):
        return effective_n_jobs(n_jobs)


def run_chunks(
    function,
    n_rows,
    *,
    max_size=_MAX_CHUNK,
    n_jobs,
    verbose,
    description,
    on_done=None,
):
    """Call a function for each chunk of rows, by threads where they gain time.

    Threads suffice, since Pillow decodes and resizes outside of Python's lock, and
    nothing has to be copied between processes. Rows that take little time stay in the
    calling thread.

    Parameters
    ----------
    function : callable
        Called with a range of row numbers; returns how many of them to count as done.
    n_rows : int
        How many rows there are.
    max_size : int, default=32
        How many rows a chunk may have at most; never more than the default.
    n_jobs : int or None
        As in joblib.
    verbose : int
        Whether to show a progress bar.
    description : str
        The text before the bar.
    on_done : callable, default=None
        Called with the number of further rows that are done, in the calling thread.
    """
    end_with_parent()
    n_threads = count_threads(n_jobs)
    size = min(max_size, _MAX_CHUNK)
    with make_bar(description, "images", shown=verbose, total=n_rows) as bar:
        for n_done in _run(function, n_rows, size, n_jobs, n_threads):
            bar.update(n_done)
            if on_done is not None:
                on_done(n_done)


def _run(function, n_rows, size, n_jobs, n_threads):
    """Work on all rows, and yield how many are done each time."""
    # joblib takes a millisecond to start, ten times as long as a small image.
    sizes = _FIRST_CHUNKS if n_threads > 1 else ()
    rest = range(n_rows)
    for start, n_done, is_worth in _run_alone(function, n_rows, size, sizes):
        yield n_done
        rest = range(start, n_rows)
        if n_threads > 1 and is_worth:
            break
    if rest:
        size = max(1, min(size, len(rest) // (4 * n_threads)))
        yield from _make_parallel(n_jobs)(map(delayed(function), _cut(rest, size)))


def _run_alone(function, n_rows, size, first_sizes):
    """Work in this thread, and tell each time whether more threads are worth it.

    Parameters
    ----------
    function : callable
    n_rows : int
    size : int
        How many rows a chunk has.
    first_sizes : tuple of int
        How many rows the first chunks have, if fewer.

    Yields
    ------
    start : int
        The first row that wasn't worked on.
    n_done : int
        How many rows the function counts as done.
    is_worth : bool
        Whether this chunk of rows and the one before it were slow: one alone may have
        been held up.
    """
    sizes = itertools.chain(first_sizes, itertools.repeat(size))
    start, n_slow = 0, 0
    while start < n_rows:
        chunk = range(start, min(start + min(next(sizes), size), n_rows))
        started = time.perf_counter()
        n_done = function(chunk)
        seconds = time.perf_counter() - started
        is_slow = start > 0 and seconds > _WORTH_A_THREAD * len(chunk)
        n_slow = n_slow + 1 if is_slow else 0
        start = chunk.stop
        yield start, n_done, n_slow > 1


def _cut(rows, size):
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _make_parallel(n_jobs):
    # By name: joblib's require="sharedmem" drops the n_jobs of a parallel_config.
    return Parallel(n_jobs=n_jobs, backend="threading", return_as="generator_unordered")
