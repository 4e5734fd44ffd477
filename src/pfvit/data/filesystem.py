"""Where files are: this machine, or whatever file system pyarrow or fsspec knows (`s3://bucket/folder`, `hf://...`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pfvit.errors import InputError
from pfvit.utils.files import atomic_write, cannot_write, unfinished
from pfvit.utils.text import utf8

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


class Place(NamedTuple):
    """A file or folder: the file system that it is on, and its path there."""

    files: FileSystem
    path: str
    url: str
    """As a person named it."""

    @property
    def local(self) -> bool:
        """Whether it is on this machine."""
        return self.files.type_name == "local"

    def below(self, name: str) -> Place:
        """Return a file or folder in this one."""
        return Place(self.files, f"{self.path}/{name}", f"{self.url.rstrip('/')}/{name}")

    def put(self, content: bytes, remedy: str = "") -> None:
        """Write a file whole: what is there under its name is always complete. OutputError if that is not possible."""
        if self.local:
            with atomic_write(Path(self.path), durable=True, remedy=remedy) as new:
                new.write_bytes(content)
            return
        folder, _, name = self.path.rpartition("/")
        beside = f"{folder}/{unfinished(Path(name))}"
        try:
            with self.files.open_output_stream(beside) as stream:
                stream.write(content)
            self.files.move(beside, self.path)
        except OSError as problem:
            raise cannot_write(self.url, problem, remedy) from problem


def place(url: str) -> Place:
    """Return what a path or URL stands for; InputError for a file system that nothing installed here knows."""
    from pyarrow.fs import FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem

    if "://" not in url:
        if utf8(url) != url:
            raise InputError(f"{url} cannot be used: pyarrow takes only names that are UTF-8; choose another")
        return Place(LocalFileSystem(), str(Path(url).absolute()), url)
    try:
        files, path = FileSystem.from_uri(url)
        return Place(files, path.rstrip("/"), url)
    except (ValueError, NotImplementedError, OSError):
        pass  # not one of pyarrow's own
    scheme = url.partition("://")[0]
    try:
        import fsspec

        spec, path = fsspec.core.url_to_fs(url)
    except ImportError as problem:
        raise InputError(f"{url}: {scheme} needs fsspec and its package for it ({problem})") from problem
    except (ValueError, OSError) as problem:
        raise InputError(f"{url} is on no file system that can be opened: {problem}") from problem
    return Place(PyFileSystem(FSSpecHandler(spec)), path.rstrip("/"), url)
