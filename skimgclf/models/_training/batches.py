"""Make batches of samples."""

import contextlib
import copy
import dataclasses

import numpy as np

from skimgclf.models._start import keras
from skimgclf.models._training.loss import draw_partners, soften
from skimgclf.models._training.read_ahead import BatchReader


@dataclasses.dataclass(frozen=True)
class Samples:
    """Samples with their classes and weights.

    Attributes
    ----------
    X : ndarray, LazyImages or SelectedRows of shape (n_samples, ...)
        Floats, or uint8 images.
    codes : ndarray of int of shape (n_samples,)
        The index of each sample's class.
    weights : ndarray of shape (n_samples,) or None
        The weight of each sample; None for equal weights.
    """

    X: object
    codes: np.ndarray
    weights: np.ndarray | None


class Batches(keras.utils.PyDataset):
    """Batches of samples in an order that only the given generator decides.

    Keras shuffles with the global random state of Python or TensorFlow; here the order
    comes from a generator of NumPy, so that a fit with the same seed sees the same
    batches in every process and thread, from memory and from disk. Images of 8 bits are
    divided by 255 batch by batch.

    Parameters
    ----------
    samples : Samples
        Samples to train on, or to evaluate.
    batch_size : int
        Number of samples in a batch; the last one of an epoch may be smaller.
    order : numpy.random.Generator, default=None
        Draws the order of each epoch; None for the order of the samples.
    soft : SoftLabels, default=None
        Mixes samples and softens labels; None for hard labels.

    Attributes
    ----------
    is_peeked : bool
        Whether Keras looks at a batch before the next epoch, as it does under a
        strategy of TensorFlow; it begins an epoch for that, which has the same order.
    """

    def __init__(self, samples, *, batch_size, order=None, soft=None):
        super().__init__()
        self.reader = BatchReader(samples.X, batch_size)
        self._samples = samples
        self.is_peeked = False
        self.batch_size = self.reader.batch_size
        self._order = order
        self._soft = soft
        self._partners = None
        self._has_begun = False

    @property
    def num_batches(self):
        """Number of batches in an epoch."""
        return self.reader.n_batches

    def on_epoch_begin(self):
        """Draw the order of the next epoch, and its mixtures."""
        n_samples = len(self._samples.codes)
        order = copy.deepcopy(self._order) if self.is_peeked else self._order
        self.is_peeked = False
        if order is None:
            # An index array copies, a slice doesn't: TensorFlow computes in the memory
            # of the arrays that a data set yields.
            rows = np.arange(n_samples)
        else:
            rows = order.permutation(n_samples)
        if self._soft is not None and self._soft.mixup:
            # For all batches at once, so that joined ones are mixed alike.
            mixup, size = self._soft.mixup, self.batch_size
            self._partners = draw_partners(n_samples, size, mixup, order)
        self.reader.start(rows)
        self._has_begun = True

    def __getitem__(self, index):
        # Before the first epoch, Keras looks for shapes and types only.
        return self.read(index) if self._has_begun else self.make_blank()

    def make_blank(self):
        """Return a batch of the right shapes and types, without reading anything."""
        X = self.reader.make_blank()
        return self._soften(self._add_labels(X, slice(len(X))))

    def join(self, n_joined):
        """Yield the batches of one epoch, several joined into one.

        Parameters
        ----------
        n_joined : int
            Number of batches that are joined; fewer at the end of the epoch.
        """
        self.on_epoch_begin()
        for start in range(0, self.num_batches, n_joined):
            yield self.read(start, n_joined)

    def read(self, index, n_joined=1):
        """Return several batches joined into one.

        Parameters
        ----------
        index, n_joined : int
            As in `BatchReader.read`.

        Returns
        -------
        batch : tuple of ndarray
            Samples, codes (or shares of classes), and weights if there are any.
        """
        X = self.reader.read(index, n_joined)
        batch = self._add_labels(X, self.reader.key_of(index, n_joined))
        if self._partners is None:
            return self._soften(batch)
        start = index * self.batch_size
        return self._soften(batch, self._partners.select(slice(start, start + len(X))))

    def close(self):
        """Release the samples, and stop reading ahead.

        TensorFlow 2.21 never releases the data sets that it made of generators, as it
        does for several devices, nor this object with them.
        """
        self.reader.close()
        self._samples = None

    def _add_labels(self, X, key):
        weights = self._samples.weights
        batch = (X, self._samples.codes[key])
        return batch if weights is None else (*batch, weights[key])

    def _soften(self, batch, partners=None):
        return batch if self._soft is None else soften(self._soft, batch, partners)


@contextlib.contextmanager
def reading(*parts):
    """Close batches after a training, and raise the reader's own errors.

    Keras 3.15 drops the cause of an error, and on several devices TensorFlow 2.21 turns
    the error of an image that can't be read into an UnknownError.

    Parameters
    ----------
    *parts : Batches
        The batches of the training.
    """
    try:
        yield
    except Exception:
        failures = [part.reader.failure for part in parts if part.reader.failure]
        if not failures:
            raise
        error, cause = failures[0]
        raise error from cause
    finally:
        for part in parts:
            part.close()
