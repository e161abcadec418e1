"""Decoding that Pillow's process-wide settings and the warning filters can't change.

Two globals of Pillow decide what a damaged or huge file becomes, and anybody in the
process may set them: with ``ImageFile.LOAD_TRUNCATED_IMAGES = True`` (the usual advice
on the web) half of all truncated files turn into wrong pixels without an error, and
``Image.MAX_IMAGE_PIXELS`` refuses images that `max_pixels` allows. Warning filters are
process-wide as well: under ``-W error`` a remark on metadata would lose a good image.
"""

import os
import threading
import warnings
from contextlib import contextmanager

from PIL import Image, ImageFile

_thread = threading.local()


class SettingsChanged(Exception):
    """Pillow's settings were changed while an image was decoded."""


class _ThisThreadDecodes:
    """The message pattern of a warning filter: matches in threads that decode.

    ``warnings.catch_warnings`` swaps a process-wide list and isn't safe to use in
    threads, so the filter stays and its pattern looks at the thread that warns.
    """

    # scikit-learn's Parallel copies all filters to its workers by this attribute: there
    # the filter becomes one that never matches.
    pattern = "(?!)"

    def match(self, message):
        """Tell whether the message came from a decode."""
        return getattr(_thread, "decodes", False)


_FILTER = ("ignore", _ThisThreadDecodes(), Warning, None, 0)


class _PillowSettings:
    """Counts the decodes that run, and sets Pillow's globals while some need it.

    As long as the globals suit (nearly always), nothing is set. As soon as one decode
    has to set them, those that start beside it join it, since what they would read from
    the globals is no longer what the user had set; the last one puts the values back.
    """

    def __init__(self):
        self.reset()

    def reset(self):
        self.lock = threading.Lock()
        self.n_decodes = 0
        self.n_overriding = 0
        self.saved = None

    def enter(self, max_pixels):
        """Start a decode, and return whether it runs with the globals set by us."""
        with self.lock:
            self.n_decodes += 1
            if warnings.filters[:1] != [_FILTER]:
                warnings.filters.insert(0, _FILTER)
            if self.n_overriding == 0:
                if _globals_suit(max_pixels):
                    return False
                self.saved = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
                ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, None
            self.n_overriding += 1
            return True

    def leave(self, overriding):
        """End a decode that `enter` started."""
        with self.lock:
            self.n_decodes -= 1
            if self.n_decodes == 0 and _FILTER in warnings.filters:
                warnings.filters.remove(_FILTER)
            self.n_overriding -= overriding
            if overriding and self.n_overriding == 0:
                self._put_back()

    def _put_back(self):
        # Only what is still ours: somebody may have set them meanwhile.
        truncated, limit = self.saved
        if ImageFile.LOAD_TRUNCATED_IMAGES is False:
            ImageFile.LOAD_TRUNCATED_IMAGES = truncated
        if Image.MAX_IMAGE_PIXELS is None:
            Image.MAX_IMAGE_PIXELS = limit

    def after_fork(self):
        """Undo in a forked child what threads of its parent were in the middle of."""
        if self.n_overriding:
            self._put_back()
        self.reset()


_settings = _PillowSettings()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_settings.after_fork)


def _globals_suit(max_pixels):
    # Pillow warns above MAX_IMAGE_PIXELS (filtered here) and raises above twice that.
    limit = Image.MAX_IMAGE_PIXELS
    return not ImageFile.LOAD_TRUNCATED_IMAGES and (
        limit is None or max_pixels <= 2 * limit
    )


@contextmanager
def isolated(max_pixels):
    """Decode as if nobody had changed Pillow's globals or the warning filters.

    Parameters
    ----------
    max_pixels : int
        The most pixels the decode must be able to read.

    Raises
    ------
    SettingsChanged
        If somebody has asked Pillow for truncated images meanwhile, so that nobody
        knows whether this one is whole. Decode it anew.
    """
    overriding = _settings.enter(max_pixels)
    _thread.decodes = True
    try:
        yield
    finally:
        _thread.decodes = False
        changed = bool(ImageFile.LOAD_TRUNCATED_IMAGES)
        _settings.leave(overriding)
    if changed:
        raise SettingsChanged
