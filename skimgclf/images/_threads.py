"""Rows worked on by threads, with a progress bar."""

from contextlib import nullcontext

from joblib import Parallel, delayed, effective_n_jobs

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


def run_rows(function, n_rows, *, n_jobs, verbose, description):
    """Call a function for each row, by threads.

    Threads suffice, since Pillow decodes and resizes outside of Python's lock, and
    nothing has to be copied between processes.

    Parameters
    ----------
    function : callable
        Called with each row number from 0; what it returns is dropped.
    n_rows : int
        How many rows there are.
    n_jobs : int or None
        As in joblib.
    verbose : int
        Whether to show a progress bar on stderr.
    description : str
        What stands before the bar.
    """
    share = -(-n_rows // (4 * effective_n_jobs(n_jobs)))
    chunk = max(1, min(_MAX_CHUNK, share))
    # By name: joblib's require="sharedmem" drops the n_jobs of a parallel_config.
    parallel = Parallel(
        n_jobs=n_jobs, backend="threading", return_as="generator_unordered"
    )
    tasks = (
        delayed(_run_chunk)(function, start, min(start + chunk, n_rows))
        for start in range(0, n_rows, chunk)
    )
    with _make_bar(n_rows, description, verbose) as bar:
        for n_done in parallel(tasks):
            if bar is not None:
                bar.update(n_done)


def _run_chunk(function, start, stop):
    for row in range(start, stop):
        function(row)
    return stop - start


def _make_bar(n_rows, description, verbose):
    if not verbose:
        return nullcontext()
    from tqdm import tqdm

    return tqdm(total=n_rows, desc=description, unit=" images")
