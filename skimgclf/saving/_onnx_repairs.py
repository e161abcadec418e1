"""Work around what tf2onnx 1.17 doesn't translate."""

import numpy as np


def translate_erfc():
    """Teach tf2onnx the operation Erfc, by which TensorFlow computes "gelu".

    Cause: tf2onnx 1.17 knows Erf only, and writes a file that no program can read. It
    can go when tf2onnx translates Erfc; then this one isn't used any more.
    """
    import tf2onnx.handler

    opsets = tf2onnx.handler.tf_op.get_opsets().values()
    if not any("Erfc" in known for opset in opsets for known in opset):
        tf2onnx.handler.tf_op("Erfc").register_compat_handler(_write_erfc, 9)


def _write_erfc(graph, node, **_settings):
    """Replace Erfc(x) by 1 - Erf(x)."""
    from tf2onnx import utils

    result = {
        "dtypes": [graph.get_dtype(node.output[0])],
        "shapes": [graph.get_shape(node.output[0])],
    }
    inputs, outputs = node.input, node.output
    graph.remove_node(node.name)
    erf = graph.make_node("Erf", inputs, **result)
    dtype = utils.map_onnx_to_numpy_type(result["dtypes"][0])
    one = graph.make_const(utils.make_name("one"), np.ones((), dtype))
    subtracted = [one.output[0], erf.output[0]]
    graph.make_node("Sub", subtracted, name=node.name, outputs=outputs, **result)
