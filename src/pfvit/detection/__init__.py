"""Find faces in pictures, and cut them out as the training faces are cut."""
