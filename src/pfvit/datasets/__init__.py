"""The field's data sets: one module per layout, each with what is published about it."""

from pfvit.datasets import affectnet, ckplus, expw, fer2013, ferplus, folders, rafdb, sfew
from pfvit.datasets.base import Bad, Item, Layout, Listing
from pfvit.datasets.manifest import Counts

#: What `pfvit prepare` knows.
SETS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        rafdb.SET,
        affectnet.SEVEN_CLASSES,
        affectnet.EIGHT_CLASSES,
        ferplus.SET,
        fer2013.SET,
        sfew.SET,
        expw.SET,
        ckplus.SET,
        folders.LABELLED,
        folders.UNLABELLED,
    )
}

__all__ = ["SETS", "Bad", "Counts", "Item", "Layout", "Listing"]
