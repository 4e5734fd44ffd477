"""Read faces, and take their expressions off, with onnxruntime and numpy alone."""
