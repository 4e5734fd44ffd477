"""Read faces, and remove their expressions, with onnxruntime and numpy alone."""
