"""Rows worked on by threads, with a progress bar."""

from contextlib import nullcontext

from joblib import Parallel, delayed, effective_n_jobs, parallel_config

from skimgclf._validation import is_int, parameter_error

# Rows that a thread takes at once: enough that handing them over costs nothing beside
# decoding, few enough for the progress bar to move.
_MAX_CHUNK = 32


def check_n_jobs(owner, n_jobs):
    """Refuse anything but None and an int other than 0."""
    if n_jobs is None:
        return
    if not (is_int(n_jobs, minimum=1) or (is_int(n_jobs, minimum=-(2**31)) and n_jobs)):
        raise parameter_error(
            owner, "n_jobs", "an int other than 0 or None (1, or joblib's)", n_jobs
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


def run_chunks(function, n_rows, *, max_size=_MAX_CHUNK, n_jobs, verbose, description):
    """Call a function for each chunk of rows, by threads.

    Threads suffice, since Pillow decodes and resizes outside of Python's lock, and
    nothing has to be copied between processes.

    Parameters
    ----------
    function : callable
        Called with a range of row numbers; what it returns is dropped.
    n_rows : int
        How many rows there are.
    max_size : int, default=32
        How many rows a chunk may have at most; never more than the default.
    n_jobs : int or None
        As in joblib.
    verbose : int
        Whether to show a progress bar on stderr.
    description : str
        What stands before the bar.
    """
    n_threads = count_threads(n_jobs)
    size = min(max_size, _MAX_CHUNK)
    if n_threads > 1:
        size = max(1, min(size, n_rows // (4 * n_threads)))
    chunks = [range(n_rows)[start : start + size] for start in range(0, n_rows, size)]
    with _make_bar(n_rows, description, verbose) as bar:
        for n_done in _run(function, chunks, n_jobs, n_threads):
            if bar is not None:
                bar.update(n_done)


def _run(function, chunks, n_jobs, n_threads):
    if n_threads == 1 or len(chunks) == 1:
        # joblib would take a millisecond to start, ten times what a small image takes.
        return (_run_chunk(function, chunk) for chunk in chunks)
    parallel = _make_parallel(n_jobs)
    return parallel(delayed(_run_chunk)(function, chunk) for chunk in chunks)


def _make_parallel(n_jobs):
    # By name: joblib's require="sharedmem" drops the n_jobs of a parallel_config.
    return Parallel(n_jobs=n_jobs, backend="threading", return_as="generator_unordered")


def _run_chunk(function, chunk):
    function(chunk)
    return len(chunk)


def _make_bar(n_rows, description, verbose):
    if not verbose:
        return nullcontext()
    from tqdm import tqdm

    return tqdm(total=n_rows, desc=description, unit=" images")
