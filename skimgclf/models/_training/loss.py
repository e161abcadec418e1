"""Name the loss that training minimizes, and make the targets of soft labels."""

import dataclasses

import numpy as np

from skimgclf.models._start import keras

# Labels are codes of classes, so that no array of one-hot rows is made.
HARD_LOSS = "sparse_categorical_crossentropy"
# Labels are rows of shares of classes. Names of Keras, and no function of our own: a
# network that a user saves by itself is read again without this package.
SOFT_LOSS = "categorical_crossentropy"
METRICS = ["accuracy"]


@dataclasses.dataclass(frozen=True)
class SoftLabels:
    """Settings for labels that are shares of classes.

    All of it is in the targets and weights of the batches: fits that differ in these
    numbers share one program, and validation data have hard labels in the same form.

    Attributes
    ----------
    n_classes : int
        Number of classes.
    label_smoothing : float
        Share of each label that is spread over all classes, in [0, 1).
    mixup : float
        Both parameters of the Beta distribution of the shares; 0 for no mixing.
    """

    n_classes: int
    label_smoothing: float = 0.0
    mixup: float = 0.0

    def harden(self):
        """Return settings that make hard labels of the same form."""
        return SoftLabels(self.n_classes)


def choose_soft_labels(parameters, n_classes):
    """Return the settings of soft labels if they are on, or None.

    Parameters
    ----------
    parameters : dict
        Those of KerasImageClassifier.
    n_classes : int
        Number of classes.

    Returns
    -------
    soft : SoftLabels or None
    """
    if name_loss(parameters) == HARD_LOSS:
        return None
    numbers = [float(parameters[name]) for name in ("label_smoothing", "mixup")]
    return SoftLabels(n_classes, *numbers)


def name_loss(parameters):
    """Return Keras' name of the loss that the parameters of a classifier ask for."""
    is_soft = parameters["label_smoothing"] or parameters["mixup"]
    return SOFT_LOSS if is_soft else HARD_LOSS


@dataclasses.dataclass(frozen=True)
class Partners:
    """The samples to mix with those of an epoch, or of a part of it.

    Attributes
    ----------
    positions : ndarray of int of shape (n_samples,)
        Where each sample's partner stands.
    shares : ndarray of float of shape (n_samples,)
        The partner's share of the mixture, in [0, 0.5].
    """

    positions: np.ndarray
    shares: np.ndarray

    def select(self, samples):
        """Select a slice of whole batches."""
        start, _, _ = samples.indices(len(self.positions))
        return Partners(self.positions[samples] - start, self.shares[samples])


def draw_partners(n_samples, batch_size, mixup, generator):
    """Draw a partner for each sample of an epoch.

    Each sample has a share of its own, since one for a whole batch would make some
    steps hard and others soft, and so gradients that differ more.

    Parameters
    ----------
    n_samples, batch_size : int
        Number of samples in the epoch, and in a batch.
    mixup : float
        Both parameters of the Beta distribution.
    generator : numpy.random.Generator
        Decides everything.

    Returns
    -------
    partners : Partners
        A permutation within each batch.
    """
    batches = np.arange(n_samples) // batch_size
    positions = np.lexsort((generator.random(n_samples), batches))
    shares = generator.beta(mixup, mixup, n_samples)
    return Partners(positions, np.minimum(shares, 1 - shares))


def soften(soft, batch, partners=None):
    """Mix the samples of a batch, and turn their codes into shares of classes.

    The loss of a mixed sample is the sum of both losses, each by its share and by the
    weight of its sample.

    Parameters
    ----------
    soft : SoftLabels
        The settings.
    batch : tuple of ndarray
        Samples, codes, and weights if there are any.
    partners : Partners, default=None
        Of these samples; None for no mixing.

    Returns
    -------
    batch : tuple of ndarray
        Samples, shares of shape (n_samples, n_classes) that sum to 1, and weights if
        there were any.
    """
    X, codes, *weights = batch
    floatx = keras.config.floatx()
    shares = np.zeros((len(codes), soft.n_classes))
    shares[np.arange(len(codes)), codes] = weights[0] if weights else 1
    if partners is not None:
        X, shares = _mix(X, partners), _mix(shares, partners)
    mixed_weights = shares.sum(axis=1, keepdims=True)
    # The weights of a pair may both be 0: in 32 bits, or in validation data.
    shares /= np.maximum(mixed_weights, np.finfo(float).tiny)
    shares += soft.label_smoothing * (1 / soft.n_classes - shares)
    soft_batch = X, shares.astype(floatx)
    return (*soft_batch, mixed_weights[:, 0].astype(floatx)) if weights else soft_batch


def _mix(values, partners):
    """Move each row towards its partner's by the share of the partner."""
    shares = partners.shares.astype(values.dtype)
    mixed = values[partners.positions]
    mixed -= values
    mixed *= shares.reshape(-1, *[1] * (values.ndim - 1))
    mixed += values
    return mixed
