"""KerasImageClassifier: a Keras network as a scikit-learn classifier."""

import contextlib
import functools

import keras
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skimgclf.models._architectures import build_network
from skimgclf.models._batches import (
    ShuffledBatches,
    make_predict_function,
    predict_in_batches,
)
from skimgclf.models._inputs import check_samples
from skimgclf.models._labels import (
    check_labels,
    check_weights,
    warn_of_unknown_labels,
)
from skimgclf.models._parameters import check_parameters
from skimgclf.models._persistence import pack_network, unpack_network
from skimgclf.models._progress import EpochPrinter
from skimgclf.models._scikeras import train_network


class KerasImageClassifier(ClassifierMixin, BaseEstimator):
    """A dense or convolutional network that classifies images.

    The defaults are the textbook's first network: three dense layers of 40, 20 and 10
    units with relu, a softmax layer, Adam, ten epochs. Everything in scikit-learn that
    takes a classifier takes this one.

    Parameters
    ----------
    architecture : {"dense", "cnn"} or callable, default="dense"
        The layers between the pixels and the softmax layer.

        - "dense": fully connected layers, see :func:`skimgclf.models.build_dense`
        - "cnn": convolutions with max pooling, then dense layers, see
          :func:`skimgclf.models.build_cnn`; for images only
        - a callable ``(image_shape, **those of the next six parameters that it
          names)`` that returns a `keras.Model` of features (n_samples, n_features);
          the classifier adds the softmax layer and the loss

    hidden_layer_sizes : tuple of int or int, default=(40, 20, 10)
        Number of units of each dense layer; () for none.
    conv_filters : tuple of int, default=(32, 64)
        Number of filters of each convolution of "cnn".
    kernel_size : int or tuple of two int, default=3
        Height and width of the window of the convolutions, in pixels.
    activation : str, default="relu"
        Name of a Keras activation, such as "relu", "tanh" or "gelu".
    batch_norm : bool, default=False
        Whether to normalize each layer's output before its activation.
    dropout : float, default=0.0
        Share of units dropped after each dense layer in training, in [0, 1).
    optimizer : str, keras.optimizers.Optimizer or subclass of it, default="adam"
        What updates the weights. An instance is copied for each fit.
    learning_rate : float, keras LearningRateSchedule or None, default=None
        Step size of the optimizer; None for the optimizer's own default. Must be None
        with an optimizer instance, which has its own.
    epochs : int, default=10
        Number of passes over the training data.
    batch_size : int, default=32
        Number of samples in one step of training, and computed at once in predict.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, by the labels of y; classes that a dict leaves out count
        1. "balanced" weighs classes inversely to their frequency.
    random_state : int, RandomState instance or None, default=None
        Decides the first weights, the order of samples and dropout. With an int, fits
        are equal bit for bit on one machine and one set of versions.
    verbose : int, default=0
        1 prints a line an epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels seen in fit, sorted, as they were given.
    model_ : keras.Model
        The trained network: (n_samples, *image_shape_) in [0, 1] to probabilities.
    history_ : dict of str to list of float
        "loss" and "accuracy" on the training data, one value an epoch.
    n_iter_ : int
        Number of epochs run.
    image_shape_ : tuple of int
        Shape of one sample: (height, width, n_channels), or (n_features,) for rows.
    n_features_in_ : int
        Number of values of one sample: height * width * n_channels for images.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, when X is a DataFrame whose column names are all strings.

    See Also
    --------
    skimgclf.ImageLoader : Turns paths into the arrays that this takes.
    sklearn.neural_network.MLPClassifier : Dense networks on rows, without Keras.

    Notes
    -----
    Images are expected in [0, 1] as floats, or as uint8, which is divided by 255 batch
    by batch. Rows of features (2-D X) are used as they are.

    ``sample_weight`` times ``class_weight`` is rescaled to mean 1 over the samples
    whose weight isn't 0, and the others are left out. So in full batches
    (``batch_size`` of at least n_samples) a weight of 2 equals repeating the sample.

    A fit that fails or is interrupted leaves the estimator as it was before.

    Examples
    --------
    >>> import numpy as np
    >>> from skimgclf import KerasImageClassifier
    >>> dark, bright = np.full((20, 8, 8, 1), 0.1), np.full((20, 8, 8, 1), 0.9)
    >>> X, y = np.concatenate([dark, bright]), np.repeat(["night", "day"], 20)
    >>> classifier = KerasImageClassifier(
    ...     hidden_layer_sizes=(8,), learning_rate=0.03, random_state=0
    ... )
    >>> classifier.fit(X, y).predict(X[[0, -1]])
    array(['night', 'day'], dtype='<U5')
    >>> classifier.predict_proba(X[:1]).shape
    (1, 2)
    """

    def __init__(
        self,
        architecture="dense",
        *,
        hidden_layer_sizes=(40, 20, 10),
        conv_filters=(32, 64),
        kernel_size=3,
        activation="relu",
        batch_norm=False,
        dropout=0.0,
        optimizer="adam",
        learning_rate=None,
        epochs=10,
        batch_size=32,
        class_weight=None,
        random_state=None,
        verbose=0,
    ):
        self.architecture = architecture
        self.hidden_layer_sizes = hidden_layer_sizes
        self.conv_filters = conv_filters
        self.kernel_size = kernel_size
        self.activation = activation
        self.batch_norm = batch_norm
        self.dropout = dropout
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.class_weight = class_weight
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y, sample_weight=None):
        """Build a network and train it.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, n_channels) or \
                (n_samples, n_features)
            Images, float in [0, 1] or uint8, or rows of features.
        y : array-like of shape (n_samples,)
            Labels: strings, bools or ints.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample, 0 or more.

        Returns
        -------
        self : KerasImageClassifier

        Raises
        ------
        ValueError
            If a parameter, X, y or sample_weight has a value that can't be meant.
        """
        builder_parameters = check_parameters(self.get_params())
        with _unchanged_on_failure(self):
            X = check_samples(self, X, reset=True)
            classes, codes = check_labels(y)
            check_consistent_length(X, codes)
            weights = check_weights(sample_weight, self.class_weight, codes, classes)
            blueprint = {
                "architecture": self.architecture,
                "image_shape": X.shape[1:],
                "n_classes": len(classes),
                "parameters": builder_parameters,
            }
            network, history = self._train(blueprint, X, codes, weights)
            self._keep(blueprint, classes, network, history)
        return self

    def predict(self, X):
        """Predict the label of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, n_channels) or \
                (n_samples, n_features)
            Samples like those of fit.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            The most probable of `classes_`.
        """
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, n_channels) or \
                (n_samples, n_features)
            Samples like those of fit.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; each row sums to 1.
        """
        check_is_fitted(self)
        X = check_samples(self, X, reset=False)
        return predict_in_batches(self._predict, X, batch_size=self.batch_size)

    def score(self, X, y, sample_weight=None):
        """Compute the share of samples whose label is predicted rightly.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, n_channels) or \
                (n_samples, n_features)
            Samples like those of fit.
        y : array-like of shape (n_samples,)
            Their true labels. Labels that were never seen in fit count as wrong, with
            a warning; if none was seen, they are refused.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample.

        Returns
        -------
        accuracy : float
            In [0, 1].
        """
        check_is_fitted(self)
        warn_of_unknown_labels(y, self.classes_)
        return super().score(X, y, sample_weight)

    def _train(self, blueprint, X, codes, weights):
        if weights is not None:
            kept = weights > 0
            X, codes = X[kept], codes[kept]
            weights = weights[kept].astype(keras.config.floatx())
        random_state = check_random_state(self.random_state)
        network_seed, order_seed = random_state.randint(2**31 - 1, size=2)
        return train_network(
            functools.partial(build_network, **blueprint),
            ShuffledBatches(
                X, codes, weights, batch_size=self.batch_size, seed=order_seed
            ),
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            loss="sparse_categorical_crossentropy",
            epochs=self.epochs,
            callbacks=[EpochPrinter(self.epochs)] if self.verbose else [],
            seed=int(network_seed),
        )

    def _keep(self, blueprint, classes, network, history):
        self.classes_ = classes
        self.model_ = network
        self.history_ = history
        self.n_iter_ = len(history["loss"])
        self.image_shape_ = blueprint["image_shape"]
        self._blueprint = blueprint
        self._predict = make_predict_function(network)

    def __getstate__(self):
        state = {**super().__getstate__()}
        if "model_" in state:
            state["model_"] = pack_network(self.model_, self._blueprint)
            del state["_predict"]
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "model_" in state:
            self.model_ = unpack_network(state["model_"])
            self._predict = make_predict_function(self.model_)


@contextlib.contextmanager
def _unchanged_on_failure(estimator):
    """Give an estimator its attributes back when fitting fails or is interrupted."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
