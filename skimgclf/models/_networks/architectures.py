"""Build networks: pure functions from an image shape to a Keras model of features.

Each builder takes ``image_shape`` and keyword hyper-parameters and returns a
`keras.Model` that maps a batch of images to features (n_samples, n_features). The
classifier adds the softmax layer and the loss. To add an architecture, write one
function and one line in `ARCHITECTURES`.
"""

import inspect
import math

from skimgclf._validation import parameter_error
from skimgclf.models._networks.augmentation import build_augmentation
from skimgclf.models._networks.fine_tuning import freeze, thaw
from skimgclf.models._networks.kinds import Kind, kind_of
from skimgclf.models._networks.layers import (
    DATA_FORMAT,
    flatten,
    pool_features,
    wide_dtype,
)
from skimgclf.models._networks.pretrained import BackboneSource, copy_backbone
from skimgclf.models._start import keras

_OWNER = "KerasImageClassifier"

# Not Keras' automatic name "dense", which a layer of the user's may have.
_HEAD_NAME = "class_probabilities"

# Of large images, the first stage of "resnet" has feature maps of 32 x 32 to 64 x 64
# pixels, by their area.
_FIRST_STAGE_SIDE = 32

# Keras' .99 keeps statistics of the first steps in a training of a few hundred.
_MOMENTUM = 0.9


def build_dense(
    image_shape,
    *,
    hidden_layer_sizes=(40, 20, 10),
    activation="relu",
    batch_norm=False,
    dropout=0.0,
):
    """Build a fully connected network.

    Parameters
    ----------
    image_shape : tuple of int
        Shape of one sample: (height, width, n_channels), or (n_features,) for rows.
    hidden_layer_sizes : sequence of int, default=(40, 20, 10)
        Number of units of each hidden layer.
    activation : str, default="relu"
        Name of a Keras activation.
    batch_norm : bool, default=False
        Whether to normalize each layer's output before its activation.
    dropout : float, default=0.0
        Fraction of units dropped after each hidden layer in training, in [0, 1).

    Returns
    -------
    features : keras.Model
        Maps samples of `image_shape` to (n_samples, n_units of the last layer).

    Examples
    --------
    >>> from skimgclf.models import build_dense
    >>> build_dense((28, 28, 1)).output_shape
    (None, 10)
    """
    inputs = keras.Input(image_shape)
    x = flatten(inputs)
    x = _add_dense_layers(x, hidden_layer_sizes, activation, batch_norm, dropout)
    return keras.Model(inputs, x)


def build_cnn(
    image_shape,
    *,
    conv_filters=(32, 64),
    kernel_size=3,
    hidden_layer_sizes=(128,),
    activation="relu",
    batch_norm=False,
    dropout=0.0,
):
    """Build a convolutional network.

    Each block is a convolution, optional batch normalization, the activation and max
    pooling that halves height and width; after the last block come dense layers.

    Parameters
    ----------
    image_shape : tuple of int
        Shape of one image: (height, width, n_channels).
    conv_filters : sequence of int, default=(32, 64)
        Number of filters of each block.
    kernel_size : int or tuple of int, default=3
        Height and width of the convolution's window, in pixels.
    hidden_layer_sizes : sequence of int, default=(128,)
        Number of units of each dense layer after the blocks.
    activation : str, default="relu"
        Name of a Keras activation.
    batch_norm : bool, default=False
        Whether to normalize the output of each convolution and dense layer before its
        activation.
    dropout : float, default=0.0
        Fraction of units dropped after each dense layer in training, in [0, 1).

    Returns
    -------
    features : keras.Model
        Maps (n_samples, height, width, n_channels) to (n_samples, n_units of the last
        layer).

    Examples
    --------
    >>> from skimgclf.models import build_cnn
    >>> build_cnn((28, 28, 1), hidden_layer_sizes=(64,)).output_shape
    (None, 64)
    """
    _refuse_rows("cnn", image_shape)
    inputs = x = keras.Input(image_shape)
    for n_filters in conv_filters:
        convolution = keras.layers.Conv2D(
            n_filters,
            kernel_size,
            padding="same",
            use_bias=not batch_norm,
            data_format=DATA_FORMAT,
        )
        x = _activate(convolution(x), activation, batch_norm)
        # padding="same": an image of one pixel can still be pooled.
        x = keras.layers.MaxPooling2D(padding="same", data_format=DATA_FORMAT)(x)
    x = flatten(x)
    x = _add_dense_layers(x, hidden_layer_sizes, activation, batch_norm, dropout)
    return keras.Model(inputs, x)


def build_resnet(
    image_shape,
    *,
    conv_filters=(16, 48, 64, 96),
    hidden_layer_sizes=(),
    activation="relu",
    dropout=0.0,
):
    """Build a compact residual network.

    The first stage is one convolution; each further stage is a convolution, max
    pooling that halves height and width, and a convolution with a residual connection.
    (Two convolutions in it cost a third more, and gained nothing on photos.) Sides of 1
    or 2 pixels aren't halved any more, since batch normalization leaves nothing of a
    single pixel in a batch of one image. The last feature maps are pooled to their
    maxima and means. Every convolution is followed by batch normalization. Images
    with an area of 64 x 64 pixels or more are first halved, by convolutions of stride
    2, to an area of 32 x 32 to 64 x 64 pixels, since the cost of a network is that of
    its largest feature maps.

    Parameters
    ----------
    image_shape : tuple of int
        Shape of one image: (height, width, n_channels).
    conv_filters : sequence of int, default=(16, 48, 64, 96)
        Number of filters of each stage.
    hidden_layer_sizes : sequence of int, default=()
        Number of units of each dense layer after the pooling.
    activation : str, default="relu"
        Name of a Keras activation.
    dropout : float, default=0.0
        Fraction of features dropped before the softmax layer, and after each dense
        layer, in training, in [0, 1).

    Returns
    -------
    features : keras.Model
        Maps (n_samples, height, width, n_channels) to (n_samples, n_features).

    References
    ----------
    He and others (2016), "Deep residual learning for image recognition".

    Examples
    --------
    >>> from skimgclf.models import build_resnet
    >>> build_resnet((32, 32, 3)).output_shape
    (None, 192)
    """
    _refuse_rows("resnet", image_shape)
    first, *others = conv_filters
    inputs = x = keras.Input(image_shape)
    for _ in range(count_halvings(image_shape)):
        x = _convolve(x, first, activation, strides=2)
    x = _convolve(x, first, activation)
    for n_filters in others:
        x = _convolve(x, n_filters, activation, pooled=True)
        x = keras.layers.Add()([x, _convolve(x, n_filters, activation)])
    x = keras.layers.Concatenate()([pool_features(x, "max"), pool_features(x, "avg")])
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    x = _add_dense_layers(x, hidden_layer_sizes, activation, False, dropout)
    return keras.Model(inputs, x)


def count_halvings(image_shape):
    """Count the convolutions of stride 2 in front of the stages of "resnet"."""
    side = math.sqrt(image_shape[0] * image_shape[1])
    return max(0, math.floor(math.log2(side / _FIRST_STAGE_SIDE)))


ARCHITECTURES = {"dense": build_dense, "cnn": build_cnn, "resnet": build_resnet}


def fill_in_sizes(architecture, parameters):
    """Replace None by the sizes that the architecture has by default.

    Parameters
    ----------
    architecture : str, os.PathLike or callable
        As in `build_network`.
    parameters : dict
        Hyper-parameters.

    Returns
    -------
    parameters : dict
        None stays where a named architecture doesn't use the parameter, and for
        callables, which aren't given it.
    """
    if kind_of(architecture) is not Kind.BUILT_IN:
        return parameters
    own = inspect.signature(ARCHITECTURES[architecture]).parameters
    return {
        name: own[name].default if value is None and name in own else value
        for name, value in parameters.items()
    }


def build_network(
    architecture,
    image_shape,
    n_classes,
    parameters,
    *,
    augmentation=None,
    weights=None,
    fine_tune=0,
):
    """Build features and the softmax layer on top of them.

    Parameters
    ----------
    architecture : str or callable
        A key of `ARCHITECTURES`, a backbone, or a builder.
    image_shape : tuple of int
        Shape of one sample.
    n_classes : int
        Number of units of the softmax layer.
    parameters : dict
        Hyper-parameters; a builder gets those that it names.
    augmentation : tuple, default=None
        From `plan_augmentation`: the random changes of images in training.
    weights : str or None, default=None
        Of a backbone, as in `load_backbone`.
    fine_tune : int or "all", default=0
        How many layers of a backbone can be trained.

    Returns
    -------
    network : keras.Model
        Maps samples of `image_shape` to probabilities (n_samples, n_classes).
    """
    kind = kind_of(architecture)
    if kind.is_pretrained:
        _refuse_rows(architecture, image_shape)
        source = BackboneSource(
            architecture, weights, image_shape, owner=_OWNER, parameter="architecture"
        )
        features = copy_backbone(source)
        freeze(features)
        if fine_tune:
            thaw(features, fine_tune)
        if parameters["dropout"]:
            dropped = keras.layers.Dropout(parameters["dropout"])(features.outputs[0])
            features = keras.Model(features.inputs, dropped)
    else:
        build = architecture if kind is Kind.FUNCTION else ARCHITECTURES[architecture]
        features = build(image_shape, **_select_parameters(build, parameters))
    inputs, outputs = _connect(features, image_shape, parameter_value=architecture)
    head = keras.layers.Dense(
        n_classes,
        activation="softmax",
        name=_HEAD_NAME,
        # A softmax regression starts from equal probabilities: random weights on
        # large features would be noise that few samples can't remove.
        kernel_initializer=(
            "glorot_uniform" if features.trainable_weights else "zeros"
        ),
        # In 16 bits probabilities would sum to 1 within a thousandth only.
        dtype=wide_dtype(),
    )
    if augmentation is None:
        return keras.Model(inputs, head(outputs))
    # Last, so that the first weights are those without it.
    augment = build_augmentation(augmentation, image_shape)
    inputs = keras.Input(image_shape)
    return keras.Model(inputs, head(features(augment(inputs))))


def _refuse_rows(architecture, image_shape):
    if len(image_shape) != 3:
        raise ValueError(
            f"architecture={architecture!r} needs images of shape (n_samples, height, "
            f"width, n_channels), but X has rows of {image_shape[0]} features. Use "
            "ImageLoader(flatten=False) right in front, or architecture='dense'."
        )


def _add_dense_layers(x, hidden_layer_sizes, activation, batch_norm, dropout):
    for n_units in hidden_layer_sizes:
        dense = keras.layers.Dense(n_units, use_bias=not batch_norm)
        x = _activate(dense(x), activation, batch_norm)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    return x


def _convolve(x, n_filters, activation, *, strides=1, pooled=False):
    """Add a 3x3 convolution of "resnet", with batch normalization and activation."""
    x = keras.layers.Conv2D(
        n_filters,
        3,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        data_format=DATA_FORMAT,
    )(x)
    if pooled:
        size = [2 if side > 2 else 1 for side in x.shape[1:3]]
        pool = keras.layers.MaxPooling2D(size, padding="same", data_format=DATA_FORMAT)
        x = pool(x)
    x = keras.layers.BatchNormalization(momentum=_MOMENTUM)(x)
    return keras.layers.Activation(activation)(x)


def _activate(x, activation, batch_norm):
    if batch_norm:
        x = keras.layers.BatchNormalization()(x)
    return keras.layers.Activation(activation)(x)


def _select_parameters(build, parameters):
    signature = inspect.signature(build).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature)
    named = {parameter.name for parameter in signature}
    # Parameters that functools.partial has bound keep their values.
    bound = getattr(build, "keywords", {})
    for parameter in signature:
        name = parameter.name
        if name in parameters and parameters[name] is None:
            if parameter.default is parameter.empty and name not in bound:
                expected = f"given, since architecture names {name} without a default"
                raise parameter_error(_OWNER, name, expected, None)
    return {
        name: value
        for name, value in parameters.items()
        if (takes_all or name in named) and name not in bound and value is not None
    }


def _connect(features, image_shape, *, parameter_value):
    """Return the symbolic input and output of a builder's model, checked."""

    def refuse(expected):
        expected = f"a callable {expected}"
        raise parameter_error(_OWNER, "architecture", expected, parameter_value)

    if not isinstance(features, keras.Model):
        refuse(
            "that returns a keras.Model of features (the classifier adds the softmax "
            f"layer); it returned {features!r}"
        )
    if getattr(features, "inputs", None):
        n_inputs, n_outputs = len(features.inputs), len(features.outputs)
        if (n_inputs, n_outputs) != (1, 1):
            refuse(
                f"whose model has one input and one output; its model has {n_inputs} "
                f"and {n_outputs}"
            )
        inputs, outputs = features.inputs[0], features.outputs[0]
    else:
        # A subclassed model has no symbolic tensors until it is called on one.
        inputs = keras.Input(image_shape)
        outputs = features(inputs)
    if tuple(inputs.shape[1:]) != tuple(image_shape):
        refuse(
            f"whose model takes samples of shape {tuple(image_shape)}; its model takes "
            f"{tuple(inputs.shape[1:])}"
        )
    if len(outputs.shape) != 2:
        refuse(
            "whose model returns features of shape (n_samples, n_features); its model "
            f"returns {tuple(outputs.shape)}: add keras.layers.Flatten() or a global "
            "pooling layer"
        )
    return inputs, outputs
