"""Makes the models of tests/backbone: pip install onnx numpy; python make.py

Weights are ((7 i + seed) % 11 - 5) / 8 for the i-th number of a tensor, which floats hold exactly.
The usual model takes pictures of 4 x 4: Conv of 2 x 2, step 2, to 2 channels, Relu, the mean of
each channel, then a dense layer of 5 classes and a softmax.
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(__file__).parent
OPEN = ["batch_size", "num_channels", "height", "width"]


def weights(name, *shape, seed):
    numbers = (7 * np.arange(np.prod(shape)) + seed) % 11 - 5
    return numpy_helper.from_array((numbers / 8).astype(np.float32).reshape(shape), name)


def initial():
    return [
        weights("kernel", 2, 3, 2, 2, seed=1),
        weights("shift", 2, seed=2),
        weights("dense", 5, 2, seed=3),
        weights("bias", 5, seed=4),
    ]


def conv(source="x"):
    names = [source, "kernel", "shift"]
    return [
        helper.make_node("Conv", names, ["map"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Relu", ["map"], ["active"]),
    ]


def mean():
    return [
        helper.make_node("GlobalAveragePool", ["active"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["features"], axis=1),
    ]


def dense():
    return [
        helper.make_node("Gemm", ["features", "dense", "bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]


def value(name, shape=None, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(file, nodes, shape, outputs, tensors=None, inputs=None, metadata=None):
    inputs = inputs or [value("x", shape)]
    outputs = [value(name) for name in outputs]
    tensors = initial() if tensors is None else tensors
    graph = helper.make_graph(nodes, file, inputs, outputs, tensors)
    domains = [helper.make_opsetid("", 13), helper.make_opsetid("com.example", 1)]
    made = helper.make_model(graph, opset_imports=domains, producer_name="make.py")
    made.ir_version = 8
    for key, text in (metadata or {}).items():
        made.metadata_props.add(key=key, value=text)
    (FOLDER / f"{file}.onnx").write_bytes(made.SerializeToString(deterministic=True))
    return made


usual = conv() + mean() + dense()
model("planes", usual, ["N", 3, 4, 4], ["probabilities"])
model("two_outputs", usual, ["N", 3, 4, 4], ["features", "logits"])
model("batch", usual, [2, 3, 4, 4], ["probabilities"])
model("open", usual, OPEN, ["probabilities"])
model(
    "metadata", usual, OPEN, ["probabilities"],
    metadata={"input_size": "4", "input_mean": "100, 110, 120", "input_scale": "64"},
)
model("bad_metadata", usual, OPEN, ["probabilities"], metadata={"input_size": "4x4"})
model("grey", usual, ["N", 1, 4, 4], ["probabilities"])
model("alpha", usual, ["N", 32, 32, 4], ["probabilities"])
model("flat", usual, ["N", 48], ["probabilities"])
integers = [value("x", ["N", 3, 4, 4], TensorProto.UINT8)]
model("bytes", usual, None, ["probabilities"], inputs=integers)
model("many", usual, [100000, 3, 4, 4], ["probabilities"])
model("no_dense", conv() + mean(), ["N", 3, 4, 4], ["features"])
# As the usual model, but rows, columns and channels last, and the mean and the dense layer of
# other operators. Weights are among the inputs, as in old files.
model(
    "pixels",
    [helper.make_node("Transpose", ["x"], ["planes"], perm=[0, 3, 1, 2])]
    + conv("planes")
    + [
        helper.make_node("ReduceMean", ["active"], ["features"], axes=[2, 3], keepdims=0),
        helper.make_node("Transpose", ["dense"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["features", "turned"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ],
    None,
    ["logits"],
    inputs=[value("kernel", [2, 3, 2, 2]), value("x", [1, 4, 4, 3])],
)
model(
    "two_heads",
    usual + [helper.make_node("Gemm", ["logits", "other"], ["age"], transB=1)],
    ["N", 3, 4, 4],
    ["probabilities", "age"],
    tensors=initial() + [weights("other", 1, 5, seed=5)],
)
model(
    "two_inputs",
    conv() + mean() + [helper.make_node("Add", ["features", "y"], ["sum"])],
    None,
    ["sum"],
    inputs=[value("x", ["N", 3, 4, 4]), value("y", ["N", 2])],
)
# The unknown operator behind the dense layer is not needed for the features.
unknown = helper.make_node("Sharpen", ["active"], ["sharp"], domain="com.example")
pool = helper.make_node("GlobalAveragePool", ["sharp"], ["mean"])
model("unknown", conv() + [unknown, pool] + mean()[1:] + dense(), ["N", 3, 4, 4], ["probabilities"])
behind = helper.make_node("Sharpen", ["logits"], ["sharp"], domain="com.example")
model("unknown_behind", usual + [behind], ["N", 3, 4, 4], ["probabilities", "sharp"])
model("dangling", usual[1:], ["N", 3, 4, 4], ["probabilities"])
# The logarithm of a channel that no pixel activates.
model(
    "logarithm",
    conv() + mean() + [helper.make_node("Log", ["features"], ["log"])],
    ["N", 3, 4, 4],
    ["log"],
)
# Another number of channels than the kernel has: shapes do not fit.
kernel = [weights("kernel", 2, 5, 2, 2, seed=1)] + initial()[1:]
model("misfit", usual, ["N", 3, 4, 4], ["probabilities"], tensors=kernel)
# Texts in raw bytes, which the format forbids.
text = TensorProto(name="shift", data_type=TensorProto.STRING, dims=[2], raw_data=b"ab")
tensors = [initial()[0], text] + initial()[2:]
model("text", usual, ["N", 3, 4, 4], ["probabilities"], tensors=tensors)


def external(file, location):
    """The usual model with its kernel in another file, after 8 bytes of something else."""
    tensors = initial()
    raw = tensors[0].raw_data
    tensors[0].ClearField("raw_data")
    tensors[0].data_location = TensorProto.EXTERNAL
    for key, text in [("location", location), ("offset", "8"), ("length", str(len(raw)))]:
        tensors[0].external_data.add(key=key, value=text)
    model(file, usual, ["N", 3, 4, 4], ["probabilities"], tensors=tensors)
    return raw


raw = external("beside", "beside.weights")
(FOLDER / "beside.weights").write_bytes(b"8 bytes." + raw)
external("outside", "../models/beside.weights")
