"""Work around operations that tf2onnx 1.17 doesn't translate."""

import numpy as np


def translate_unknown():
    """Teach tf2onnx the operations by which TensorFlow computes "gelu" and "celu".

    Cause: tf2onnx 1.17 knows neither Erfc nor Expm1, and writes a file that no program
    can read. It can go when tf2onnx translates both; then this isn't used any more.
    """
    import tf2onnx.handler

    known = set()
    for opset in tf2onnx.handler.tf_op.get_opsets().values():
        known.update(*opset)
    for name, write in [("Erfc", _write_erfc), ("Expm1", _write_expm1)]:
        if name not in known:
            tf2onnx.handler.tf_op(name).register_compat_handler(write, 9)


def _write_erfc(graph, node, **_settings):
    """Replace Erfc(x) by 1 - Erf(x)."""
    _replace(graph, node, "Erf", lambda one, erf: [one, erf])


def _write_expm1(graph, node, **_settings):
    """Replace Expm1(x) by Exp(x) - 1."""
    _replace(graph, node, "Exp", lambda one, exp: [exp, one])


def _replace(graph, node, operation, order):
    """Replace a node by another operation and a difference with 1."""
    from tf2onnx import utils

    result = {
        "dtypes": [graph.get_dtype(node.output[0])],
        "shapes": [graph.get_shape(node.output[0])],
    }
    inputs, outputs = node.input, node.output
    graph.remove_node(node.name)
    value = graph.make_node(operation, inputs, **result)
    dtype = utils.map_onnx_to_numpy_type(result["dtypes"][0])
    one = graph.make_const(utils.make_name("one"), np.ones((), dtype))
    subtracted = order(one.output[0], value.output[0])
    graph.make_node("Sub", subtracted, name=node.name, outputs=outputs, **result)
