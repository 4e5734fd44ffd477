"""`pfvit train-photo`: train the photo model, which moves the pixels of photos."""

from pfvit.config import TrainPhoto
from pfvit.training import photo_trainer


def train_photo(config: TrainPhoto) -> None:
    """Train the photo model to the end of its phases, or until the time is up."""
    photo_trainer.train_photo(config)
