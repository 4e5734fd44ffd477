"""Where the pictures that a list names are looked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pfvit.data.lists import folders_in
from pfvit.data.parts import part_of

MOST_FOLDERS = 8  # beside a list, that are looked into


class Places(NamedTuple):
    """Where the pictures of a list are looked for."""

    first: Sequence[Path]
    """Beside the list, above it, and where AffectNet keeps its pictures."""
    folders: Sequence[Path]
    """The folders beside the list, for pictures that are in none of these."""

    @classmethod
    def of(cls, folder: Path) -> "Places":
        """Return the places for a list in a folder."""
        try:
            inner = folders_in(folder)
        except OSError:  # its files can be opened, but not be listed
            inner = []
        first = [folder, folder.parent, folder / "Manually_Annotated_Images", folder / "Manually_Annotated"]
        return cls([*first, folder.parent / "Manually_Annotated_Images"], inner if len(inner) <= MOST_FOLDERS else [])

    def file(self, name: str, part: str = "") -> Path | None:
        """Return the file that a list names for a part; None if it is not there, or if several folders have one."""
        name = name.replace("\\", "/")
        try:
            for start in self.first:
                if (start / name).is_file():
                    return start / name
            found = [folder for folder in self.folders if (folder / name).is_file()]
        except (OSError, ValueError):
            return None
        found = [folder for folder in found if part and part_of(folder.name) == part] or found
        return found[0] / name if len(found) == 1 else None
