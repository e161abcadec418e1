"""Run an exported file, and compare its output with that of the network."""

import importlib.util
import warnings

import numpy as np

from skimgclf.models._start import keras, tensorflow

# Other programs add in another order; a wrong file is wrong in the first digits.
_TOLERANCE = 1e-3


def run_export(path, file_format, network):
    """Run an exported file on one image, where its runtime is installed.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    file_format : {"onnx", "litert", "keras"}
    network : keras.Model
        The network that it was written from.

    Raises
    ------
    ValueError
        If the file gives other probabilities than the network.
    Exception
        Whatever a runtime raises.
    """
    shape = [side or 1 for side in network.input_shape]
    images = np.random.default_rng(0).random(shape, dtype="float32")
    found = _RUNTIMES[file_format](path, images)
    expected = np.asarray(network(images, training=False))
    if found is not None and not np.allclose(found, expected, atol=_TOLERANCE):
        raise ValueError(f"it gives {found[0]}, and the network gives {expected[0]}")


def _run_onnx(path, images):
    import onnx

    onnx.checker.check_model(str(path))
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def _run_litert(path, images):
    with warnings.catch_warnings():
        # TensorFlow 2.21 announces that another package will have it.
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is dep")
        interpreter = tensorflow.lite.Interpreter(model_path=str(path))
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(inputs[0]["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(inputs[0]["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(outputs[0]["index"])


def _run_keras(path, images):
    # As in another program: a class of this one that isn't registered is unknown there.
    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        # Keras raises an error at each level of a network: the first names the layer.
        first = error
        while first.__context__ is not None:
            first = first.__context__
        raise ValueError(str(first)) from error
    return np.asarray(network(images, training=False))


_RUNTIMES = {"onnx": _run_onnx, "litert": _run_litert, "keras": _run_keras}
