"""What has nothing to do with faces: files, progress, threads and processes."""
