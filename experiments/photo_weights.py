"""Write the photo model of the wheel as weights that `pfvit train-photo --start` goes on from.

    python experiments/photo_weights.py PHOTO.safetensors [--photo pfvit-photo.onnx]

The wheel has it as .onnx files alone, whose weights are stored in 8 bits. They are read back and put under the names of
training; before anything is written, the model must answer noise as the files do.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from safetensors.torch import save_file

from pfvit.export.graphs import DrawingGraph, PhotoGraph
from pfvit.export.onnx import PHOTO_OUTPUTS
from pfvit.inference.network import drawing_path, photo_path
from pfvit.model.photo import SIDE, SIZE, WIDTH, PhotoPFViT
from pfvit.training.eye_readout import eye_shapes
from pfvit.weights import SHIPPED

#: The group norms of each file, in the order in which they are run: their factors are stored without a name.
NORMS = (("movement.up1.2", "movement.up2.2", "movement.mix.1"), ("drawing.up.0.2", "drawing.up.1.2", "drawing.up.2.2"))
#: How far the answers may be from the files': rounding.
CLOSE = 1e-4


def weights_of(photo: Path) -> dict[str, torch.Tensor]:
    """Return the model's weights by their names in training, float32."""
    wanted = PhotoPFViT().state_dict()
    found = {"eyes.shapes": eye_shapes().numpy()}
    for path, norms in zip((photo, drawing_path(photo)), NORMS, strict=True):
        graph = onnx.load(path).graph
        values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        makes = {output: node for node in graph.node for output in node.output}
        for node in graph.node:  # 8 and 16 bits to floats, as `pfvit.export.compact` has it
            if node.op_type == "Cast" and node.input[0] in values:
                values[node.output[0]] = values[node.input[0]].astype(np.float32)
            elif node.op_type in ("Mul", "Identity") and all(name in values for name in node.input):
                values[node.output[0]] = np.prod(np.broadcast_arrays(*(values[name] for name in node.input)), axis=0)
        for name, value in values.items():
            own = name.removeprefix("model.")
            if own in wanted and value.shape == wanted[own].shape:
                found.setdefault(own, value)
        for node in graph.node:  # a linear layer's weight is stored turned, and known by the bias that is added
            bias = next((name for name in node.input if node.op_type == "Add" and name.endswith(".bias")), None)
            product = makes.get(next((name for name in node.input if name != bias), ""))
            if bias and product is not None and product.op_type == "MatMul" and product.input[1] in values:
                found.setdefault(bias.removeprefix("model.").replace(".bias", ".weight"), values[product.input[1]].T)
        users = {name: node for node in graph.node for name in node.input}
        for norm, node in zip(norms, [n for n in graph.node if n.op_type == "InstanceNormalization"], strict=True):
            factor = users[users[node.output[0]].output[0]]
            offset = users[factor.output[0]]
            found |= {
                f"{norm}.weight": values[factor.input[1]].ravel(),
                f"{norm}.bias": values[offset.input[1]].ravel(),
            }
    return {name: torch.from_numpy(np.array(found[name], np.float32, order="C")) for name in wanted}


def differences(weights: dict[str, torch.Tensor], photo: Path) -> list[float]:
    """Return how far each output of a model with these weights is from the files', given noise."""
    model = PhotoPFViT().eval()
    model.load_state_dict(weights)
    model.separator.prepare_export()
    generator = np.random.default_rng(0)
    image = np.kron(generator.integers(0, 256, (2, 8, 8, 3)), np.ones((1, SIZE // 8, SIZE // 8, 1))).astype(np.uint8)
    tokens = generator.normal(size=(2, SIDE * SIDE, WIDTH)).astype(np.float32)
    with torch.no_grad():
        ours = [*PhotoGraph(model)(torch.from_numpy(image)), DrawingGraph(model.drawing)(torch.from_numpy(tokens))]
    theirs = onnxruntime.InferenceSession(photo).run(list(PHOTO_OUTPUTS), {"image": image})
    theirs += onnxruntime.InferenceSession(drawing_path(photo)).run(["face"], {"tokens": tokens})
    return [float(np.abs(one.numpy() - other).max()) for one, other in zip(ours, theirs, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photo", type=Path, default=photo_path(SHIPPED))
    options = parser.parse_args()
    weights = weights_of(options.photo)
    off = differences(weights, options.photo)
    if max(off) > CLOSE:
        raise SystemExit(f"{options.photo}: the weights that were read back answer otherwise, by up to {max(off):.3g}")
    save_file(weights, options.out)
    print(
        f"{options.out}: {sum(map(torch.Tensor.numel, weights.values())):,} numbers; answers differ by {max(off):.1g}"
    )


if __name__ == "__main__":
    main()
