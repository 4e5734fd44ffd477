"""A great many pictures: cut into parts, each read by one process."""
