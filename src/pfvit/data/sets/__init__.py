"""The field's data sets: one module per layout, each with what is published about it."""

from pfvit.data.sets import affectnet, ckplus, expw, ferplus, folders, rafdb, sfew
from pfvit.data.sets.layout import Bad, Counts, Item, Layout, Listing

#: What `pfvit prepare` knows.
SETS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        rafdb.SET, affectnet.SEVEN_CLASSES, affectnet.EIGHT_CLASSES, ferplus.SET, sfew.SET, expw.SET, ckplus.SET,
        folders.LABELLED, folders.UNLABELLED,
    )
}  # fmt: skip

__all__ = ["SETS", "Bad", "Counts", "Item", "Layout", "Listing"]
