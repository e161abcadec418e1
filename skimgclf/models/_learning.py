"""What `fit` and `partial_fit` do: from what a user gave to a training."""

from sklearn.utils.validation import check_consistent_length

from skimgclf.models._inputs import check_samples
from skimgclf.models._labels import check_labels, check_partial_classes, check_weights
from skimgclf.models._parameters import check_parameters
from skimgclf.models._training import refuse_other_network, train
from skimgclf.models._training_data import check_validation_data, join_samples


def learn(
    estimator,
    data,
    parameters,
    previous,
    *,
    classes=None,
    validation=(None, None, None),
    is_partial=False,
):
    """Validate parameters and data, and train on them.

    Parameters
    ----------
    estimator : KerasImageClassifier
        What is known of the samples (``image_shape_`` and so on) is set on it.
    data : tuple (X, y, sample_weight)
        As in ``fit``.
    parameters : dict of str to object
        Those of the estimator.
    previous : Training or None
        What the estimator has learnt before.
    classes : array-like, default=None
        As in ``partial_fit``.
    validation : tuple (X_val, y_val, sample_weight_val)
        As in ``fit``.
    is_partial : bool, default=False
        Whether it is `partial_fit` that learns.

    Returns
    -------
    training : Training
    """
    X, y, sample_weight = data
    if is_partial:
        parameters = {**parameters, "epochs": 1, "early_stopping": False}
    blueprint = check_parameters(parameters, is_partial=is_partial)
    if is_partial:
        before = None if previous is None else previous.classes
        classes = check_partial_classes(classes, before)
    elif not parameters["warm_start"]:
        previous = None
    X = check_samples(estimator, X, reset=previous is None or not is_partial)
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
    return train(samples, validation, classes, blueprint, previous, parameters)
