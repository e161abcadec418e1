"""Check parameters and data, and train a network on them."""

import contextlib
import copy
import dataclasses

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length

from skimgclf._snapshot import detach
from skimgclf.models._checks.images import check_samples
from skimgclf.models._checks.labels import check_labels, check_partial_classes
from skimgclf.models._checks.parameters import (
    TABLE,
    check_parameters,
    check_test_time_augmentation,
)
from skimgclf.models._checks.weights import check_weights
from skimgclf.models._networks.fine_tuning import thaw
from skimgclf.models._start import keras
from skimgclf.models._training.batches import Batches, reading
from skimgclf.models._training.callbacks import (
    EpochFinder,
    EpochPrinter,
    RateRecorder,
    copy_callbacks,
)
from skimgclf.models._training.loss import choose_soft_labels, name_loss
from skimgclf.models._training.optimizer import OptimizerSettings
from skimgclf.models._training.read_ahead import warn_of_filled
from skimgclf.models._training.scikeras_adapter import (
    TrainingPlan,
    resume_training,
    train_network,
)
from skimgclf.models._training.trained import NetworkHolder, Training
from skimgclf.models._training.validation_split import (
    check_validation_data,
    hold_out,
    join_samples,
)


def count_epochs(parameters, previous):
    """Count the epochs that a fit with these parameters has at most.

    Parameters
    ----------
    parameters : dict of str to object
        Those of the estimator.
    previous : Training or None
        The training before, if the estimator has one.

    Returns
    -------
    n_epochs : int
    """
    names = ("epochs", "fine_tune", "fine_tune_epochs", "warm_start")
    plain = TABLE.check({name: parameters[name] for name in names})
    if not plain["fine_tune"]:
        return plain["epochs"]
    is_further = plain["warm_start"] and previous is not None
    return plain["fine_tune_epochs"] + (0 if is_further else plain["epochs"])


def learn(
    estimator,
    data,
    parameters,
    previous,
    *,
    classes=None,
    validation=(None, None, None),
    is_partial=False,
    reporter=None,
):
    """Check parameters and data, and train on them.

    Parameters
    ----------
    estimator : KerasImageClassifier
        Gets the attributes of the samples, such as ``image_shape_``.
    data : tuple (X, y, sample_weight)
        As in ``fit``.
    parameters : dict of str to object
        Those of the estimator.
    previous : Training or None
        The training before, if the estimator has one.
    classes : array-like, default=None
        As in ``partial_fit``.
    validation : tuple (X_val, y_val, sample_weight_val)
        As in ``fit``.
    is_partial : bool, default=False
        Whether `partial_fit` is the caller.
    reporter : EpochReporter, default=None
        Told of each epoch.

    Returns
    -------
    training : Training
    """
    X, y, sample_weight = data
    if is_partial:
        parameters = {**parameters, "epochs": 1}
    blueprint = check_parameters(parameters, is_partial=is_partial)
    parameters = TABLE.check(parameters)  # numbers of Python, which don't overflow
    if is_partial:
        before = None if previous is None else previous.classes
        classes = check_partial_classes(classes, before)
    elif not parameters["warm_start"]:
        previous = None
    X = check_samples(estimator, X, reset=previous is None or not is_partial)
    check_test_time_augmentation(parameters["test_time_augmentation"], X.shape[1:])
    classes, codes = check_labels(y, classes)
    check_consistent_length(X, codes)
    weights = check_weights(
        sample_weight,
        parameters["class_weight"],
        codes,
        classes,
        rescale=not is_partial,
    )
    validation = check_validation_data(estimator, *validation, classes)
    blueprint |= {"image_shape": estimator.image_shape_, "n_classes": len(classes)}
    if previous is not None:
        refuse_other_network(previous, blueprint, classes)
    samples = join_samples(X, codes, weights)
    return train(
        estimator,
        samples,
        validation,
        classes,
        blueprint,
        previous,
        parameters,
        reporter,
    )


def train(
    estimator,
    samples,
    validation,
    classes,
    blueprint,
    previous,
    parameters,
    reporter,
):
    """Train a network.

    Parameters
    ----------
    estimator : KerasImageClassifier
        For callbacks that ask for it.
    samples : Samples
        The training data.
    validation : Samples or None
        The validation data; None for a part of `samples` if
        ``parameters["early_stopping"]``, and otherwise nothing.
    classes : ndarray of shape (n_classes,)
        The labels.
    blueprint : dict
        The arguments of `build_network`.
    previous : Training or None
        The training to go on with; None for a new network.
    parameters : dict
        Those of KerasImageClassifier.
    reporter : EpochReporter or None
        Told of each epoch.

    Returns
    -------
    training : Training
    """
    network_seed, order_seed, held_out_seed = _draw_seeds(parameters["random_state"])
    stopper = _make_stopper(parameters)
    if stopper is not None and validation is None:
        fraction = parameters["validation_fraction"]
        samples, validation = hold_out(samples, fraction, classes, seed=held_out_seed)
    fine = previous is not None and blueprint["fine_tune"]
    soft = choose_soft_labels(parameters, len(classes))
    plan = _make_plan(parameters, stopper, previous, reporter, fine=fine)
    order = np.random.default_rng(order_seed)
    if previous is not None:
        order = copy.deepcopy(previous.order)  # a failure must not move it on
    size = parameters["batch_size"]
    parts = [Batches(samples, batch_size=size, order=order, soft=soft)]
    if validation is not None:
        parts.append(Batches(validation, batch_size=size, soft=soft and soft.harden()))
    # What is known before; a callback may ask for the training at each epoch.
    start = Training(
        holder=None,
        blueprint=blueprint,
        classes=classes,
        order=order,
        settings=plan.settings,
        history={} if previous is None else previous.history,
        best_iter=0,
    )
    with _showing(estimator, plan, start), reading(*parts):
        if previous is None:
            # A backbone is frozen until the new softmax layer is trained.
            frozen = {**blueprint, "fine_tune": 0}
            holder, history = train_network(frozen, plan, *parts, seed=network_seed)
        else:
            holder, history = previous.holder, _resume(previous, plan, *parts)
        best_iter = _best_iter(history, stopper, plan)
        training = dataclasses.replace(
            start, holder=holder, history=history, best_iter=best_iter
        )
        if previous is None and blueprint["fine_tune"]:
            training = _fine_tune(
                estimator, training, parameters, stopper, reporter, *parts
            )
    warn_of_filled(*[part.reader for part in parts])
    return training


def _draw_seeds(random_state):
    """Return the seeds of the network, the order of samples and the held out ones."""
    return check_random_state(random_state).randint(2**31 - 1, size=3).tolist()


def _make_stopper(parameters):
    if not parameters["early_stopping"]:
        return None
    return keras.callbacks.EarlyStopping(
        "val_loss",
        patience=parameters["n_iter_no_change"],
        restore_best_weights=True,
    )


def _best_iter(history, stopper, plan):
    finder = next((c for c in plan.callbacks if isinstance(c, EpochFinder)), None)
    if finder is not None:
        return len(history["loss"]) - finder.find()
    return len(history["loss"]) if stopper is None else stopper.best_epoch + 1


@contextlib.contextmanager
def _showing(classifier, plan, start):
    """Let callbacks with a method `set_classifier` see the classifier at each epoch."""

    def show(network, history):
        learner = detach(classifier)
        learner.callbacks = None  # no part of what is learnt
        training = dataclasses.replace(
            start,
            holder=NetworkHolder(network),
            order=copy.deepcopy(start.order),
            history=history,
            best_iter=len(history["loss"]),
        )
        learner._learn(training)
        return learner

    told = [each for each in plan.callbacks if hasattr(each, "set_classifier")]
    for callback in told:
        callback.set_classifier(show, start.history)
    try:
        yield
    finally:
        for callback in told:  # or it would keep what was learnt before
            callback.set_classifier(None, {})


def _fine_tune(estimator, training, parameters, stopper, reporter, *parts):
    """Train the last layers of a backbone too, and return the whole training."""
    best = None
    if stopper is not None:
        best = min(training.history["val_loss"])
        weights = training.network.get_weights()
        stopper = copy.copy(stopper)  # starts anew with the training
    thaw(training.network, training.blueprint["fine_tune"])
    plan = _make_plan(parameters, stopper, training, reporter, fine=True)
    start = dataclasses.replace(training, settings=plan.settings)
    with _showing(estimator, plan, start):
        history = _resume(training, plan, *parts, keep_optimizer=False)
    best_iter = _best_iter(history, stopper, plan)
    if best is not None:
        if best <= min(history["val_loss"][len(training.history["loss"]) :]):
            training.network.set_weights(weights)
            best_iter = training.best_iter
    return dataclasses.replace(start, history=history, best_iter=best_iter)


def refuse_other_network(previous, blueprint, classes):
    """Refuse to go on with a network that doesn't fit the parameters or the data.

    Parameters
    ----------
    previous : Training
        The training to go on with.
    blueprint : dict
        The arguments that a new network would be built from.
    classes : ndarray of shape (n_classes,)
        The labels of the new data.
    """
    before = _describe(previous.blueprint, previous.classes)
    for name, value in _describe(blueprint, classes).items():
        if value != before[name]:
            raise ValueError(
                f"A network with {name}={before[name]!r} can't be trained further with "
                f"{name}={value!r}. To build a new one, call fit with warm_start=False."
            )


def _describe(blueprint, classes):
    parts = {"classes": classes.tolist(), **blueprint, **blueprint["parameters"]}
    return {name: value for name, value in parts.items() if name != "parameters"}


def _make_plan(parameters, stopper, previous, reporter, *, fine=False):
    """Return the plan of a training, or of the fine tuning at its end."""
    prefix = "fine_tune_" if fine else ""
    epochs = parameters[f"{prefix}epochs"]
    callbacks = [RateRecorder(), *copy_callbacks(parameters["callbacks"])]
    if stopper is not None:
        callbacks.append(stopper)
    if parameters["callbacks"]:
        callbacks.append(EpochFinder())  # the last, so that it sees what others did
    if parameters["verbose"]:
        callbacks.append(EpochPrinter(_n_epochs(previous) + epochs))
    if reporter is not None:
        callbacks.append(reporter)
    settings = OptimizerSettings(
        parameters["optimizer"],
        parameters[f"{prefix}learning_rate"],
        parameters["learning_rate_schedule"],
        parameters["weight_decay"],
    )
    return TrainingPlan(settings, epochs, callbacks, name_loss(parameters))


def _n_epochs(training):
    return 0 if training is None else len(training.history["loss"])


def _resume(previous, plan, *parts, keep_optimizer=True):
    """Go on with a network, and return the history of all epochs."""
    keep_optimizer &= previous.settings == plan.settings
    n_before = _n_epochs(previous)
    history = resume_training(
        previous.network,
        plan,
        *parts,
        initial_epoch=n_before,
        keep_optimizer=keep_optimizer,
    )
    # One value an epoch: NaN where nothing was validated.
    n_epochs = len(history["loss"])
    return {
        name: previous.history.get(name, [np.nan] * n_before)
        + history.get(name, [np.nan] * n_epochs)
        for name in {**previous.history, **history}
    }
