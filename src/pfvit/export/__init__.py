"""From a training run to files for onnxruntime, and for other software."""
