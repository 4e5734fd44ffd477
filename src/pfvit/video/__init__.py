"""Read and write films, and follow faces through them."""
