"""Both stages of training: masked pre-training, and the whole of PF-ViT."""
