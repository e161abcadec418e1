"""Cache the features of images in the same store as decoded images."""

import hashlib

import numpy as np

from skimgclf._store import open_store


class FeatureCache:
    """Cache of the features that one network computes; the keys are pixels.

    Parameters
    ----------
    directory : str
        Absolute path of the store.
    limit : int
        Largest size of the store, in bytes.
    network : tuple
        Plain values that identify the network, its weights and its float type.
    """

    def __init__(self, directory, limit, network):
        self._store = open_store(directory)
        self._limit = limit
        self._start = hashlib.blake2b(repr(network).encode(), digest_size=24)

    def complete(self, predict):
        """Make a function that computes only the features that aren't cached.

        Parameters
        ----------
        predict : callable
            Takes images (n_samples, height, width, n_channels) and returns their
            features (n_samples, n_features).

        Returns
        -------
        predict_new : callable
            Returns the same features, as float32.
        """

        def predict_new(X):
            keys = [self._key_of(image) for image in X]
            values, damaged = self._store.load(keys)
            new = {key: row for row, key in enumerate(keys) if key not in values}
            if new:
                features = predict(X[list(new.values())]).astype(np.float32)
                rows = map(np.ndarray.tobytes, features)
                computed = dict(zip(new, rows, strict=True))
                self._store.store(computed, damaged, self._limit)
                values |= computed
            return np.stack([np.frombuffer(values[key], np.float32) for key in keys])

        return predict_new

    def take_problem(self):
        """Return a sentence about a failure of the store, once, or None."""
        return self._store.take_problem()

    def _key_of(self, image):
        key = self._start.copy()
        key.update(np.ascontiguousarray(image))
        return key.digest()
