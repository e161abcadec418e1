"""Write the network of a model for programs without skimgclf: export_model."""

import json
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skimgclf._atomic import bring_to_disk, replace_atomically
from skimgclf._extras import import_extra
from skimgclf._snapshot import detach
from skimgclf._validation import ParameterTable, one_of
from skimgclf.exceptions import InvalidParameterError
from skimgclf.images import ImageLoader
from skimgclf.images._decoding.options import DECODE_RULES
from skimgclf.models._embedder import ImageEmbedder
from skimgclf.models._start import keras
from skimgclf.models._training.interrupt import holding_interrupts
from skimgclf.models._training.seeds import without_training
from skimgclf.saving._export_check import run_export
from skimgclf.saving._float32 import rebuild_in_float32
from skimgclf.saving._join import join_steps
from skimgclf.saving._onnx_repairs import translate_unknown
from skimgclf.saving._steps import check_not_read, is_passthrough, list_steps

# Keras tells formats apart by these suffixes, which the user's path needn't have.
_SUFFIXES = {"keras": ".keras", "litert": ".tflite", "onnx": ".onnx"}

_TABLE = ParameterTable("export_model", {"format": one_of(*_SUFFIXES)})

_MAX_REASON = 300

# What Keras' exporter to ONNX imports.
_ONNX_PACKAGES = ("onnx", "tf2onnx")

# Parameters of the loader that decide on pixels. Options for URLs may be credentials.
_OF_PIXELS = sorted({*DECODE_RULES, "flatten"} - {"max_pixels", "storage_options"})


def export_model(model, path, format="onnx"):
    """Write the trained network for programs that run without skimgclf.

    Beside it, a file with ``.json`` at the end of its name describes the network: the
    classes in the order of its outputs, the shape and range of its inputs, and the
    settings of the loader that made them.

    Parameters
    ----------
    model : KerasImageClassifier or Pipeline
        Fitted. The steps of a pipeline may be an ImageLoader, an ImageEmbedder, a
        StandardScaler, "passthrough" and, at the end, a KerasImageClassifier or a
        LogisticRegression of scikit-learn; all but the loader become parts of the
        network that is written. Of a search, export ``best_estimator_``.
    path : str or os.PathLike
        Where to; the description is written to the same path with ``.json`` added.
    format : {"onnx", "litert", "keras"}, default="onnx"
        - "onnx": for ONNX Runtime and others; needs the packages of the extra
          ``skimgclf[export]``
        - "litert": for LiteRT, once TensorFlow Lite
        - "keras": Keras' own file

    Raises
    ------
    InvalidParameterError
        If the model is of another kind, a package for the format is missing, the format
        lacks an operation of the network, or `path` is a file that the network was
        built from.
    sklearn.exceptions.NotFittedError
        If the classifier isn't fitted.
    OSError
        If a file can't be written.

    See Also
    --------
    skimgclf.saving.save_model : Save a model for skimgclf itself.

    Notes
    -----
    The network takes float32 images in [0, 1], channels last, whatever the dtype of the
    loader (rows of them after a loader with ``flatten=True``), and gives one
    probability for each class. It computes in float32, also if it was trained in
    another float type.

    Before it appears, a file is run on one image, and the probabilities are compared;
    one for ONNX only where ONNX Runtime is installed. A Keras file is loaded in Keras'
    safe mode. A file that doesn't run is an error.

    A disk that is full changes neither file. A kill in the moment between both
    renamings leaves the new network beside the old description: export once more then.

    Examples
    --------
    >>> import json, os, tempfile
    >>> import numpy as np
    >>> from skimgclf import KerasImageClassifier, export_model
    >>> X, y = np.zeros((4, 8, 8, 1)), ["cat", "dog", "cat", "dog"]
    >>> classifier = KerasImageClassifier(hidden_layer_sizes=(), epochs=1)
    >>> classifier = classifier.fit(X, y)
    >>> path = os.path.join(tempfile.mkdtemp(), "pets.keras")
    >>> export_model(classifier, path, format="keras")
    >>> with open(f"{path}.json") as file:
    ...     description = json.load(file)
    >>> description["classes"], description["input"]["shape"]
    (['cat', 'dog'], [None, 8, 8, 1])
    """
    _TABLE.check(locals())
    steps = list_steps("export_model", model)
    described_in = f"{os.fspath(path)}.json"
    check_not_read("export_model", steps, [path, described_in])
    loader, others = _split_steps(steps)
    for step in others:
        check_is_fitted(step)
    for name in _ONNX_PACKAGES if format == "onnx" else ():
        lack = "The 'format' parameter of export_model can't be 'onnx' here without"
        import_extra(name, "export", f"{lack} {name}", InvalidParameterError)
    # Keras and other exporters may drop Ctrl-C, or make another error of it.
    with without_training(), holding_interrupts():
        others = [detach(step) for step in others]  # each of one fit
        network = join_steps(others)
        shape = network.input_shape[1:]
        exported = _export_network(rebuild_in_float32(network), format)
    # Before anything is written: a class without a form in JSON raises a TypeError.
    described = _describe(loader, others[-1].classes_, shape, format)
    description = json.dumps(described, indent=2).encode()
    with replace_atomically(described_in) as file:
        file.write(description)
        # Both are on disk before one is renamed, so that a full disk changes neither.
        bring_to_disk(file)
        with replace_atomically(path) as network_file:
            network_file.write(exported)


def _split_steps(steps):
    """Return the loader, or None, and the steps that the network stands for."""
    found = [step for _, step in steps if not is_passthrough(step)]
    for kind in (ImageLoader, ImageEmbedder):
        n_steps = sum(isinstance(step, kind) for step in found)
        if n_steps > 1:
            raise InvalidParameterError(
                f"The 'model' parameter of export_model has {n_steps} steps of "
                f"{kind.__name__}, and the exported network stands for one at most."
            )
    loaders = [step for step in found if isinstance(step, ImageLoader)]
    others = [step for step in found if not isinstance(step, ImageLoader)]
    return next(iter(loaders), None), others


def _export_network(network, file_format):
    """Return the network as the bytes of a file of that format, which was run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"network{_SUFFIXES[file_format]}")
        try:
            _write_file(network, path, file_format)
            run_export(path, file_format, network)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # exporters and runtimes raise errors of their own
            others = " or ".join(map(repr, sorted(_SUFFIXES.keys() - {file_format})))
            reason = str(error).strip().partition("\n")[0][:_MAX_REASON]
            expected = f"{others} with this network. A file can't be run: {reason!r}"
            raise _TABLE.error("format", expected, file_format) from error
        return path.read_bytes()


def _write_file(network, path, file_format):
    if file_format == "keras":
        # Keras writes the optimizer of a compiled network, whatever it is told.
        plain = keras.models.clone_model(network)
        plain.set_weights(network.get_weights())
        plain.save(path)
        return
    if file_format == "onnx":
        translate_unknown()
    # Keras 3.15 exports a network only after a call.
    network(np.zeros((1, *network.input_shape[1:])))
    with warnings.catch_warnings():
        # Keras 3.15 asks NumPy for `np.object` to repair tf2onnx, which NumPy 2
        # announces to mean something else; to remove when Keras doesn't.
        warnings.filterwarnings("ignore", "In the future `np", FutureWarning)
        # As str: Keras 3.13 looks at the end of it.
        network.export(str(path), format=file_format, verbose=False)


def _describe(loader, classes, image_shape, file_format):
    settings = loader and {name: getattr(loader, name) for name in _OF_PIXELS}
    return {
        "format": file_format,
        "classes": classes.tolist(),
        "input": {
            "shape": [None, *image_shape],
            "dtype": "float32",
            "range": [0, 1] if len(image_shape) == 3 else None,
        },
        "output": "one probability for each class",
        "loader": settings,
    }
