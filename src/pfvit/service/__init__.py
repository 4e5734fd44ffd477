"""The service behind `pfvit serve`: pictures in over HTTP, readings and poker faces out."""
