"""Faces in and out: Parquet shards and augmentation for training, pictures and detection for reading."""
