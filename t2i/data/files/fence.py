"""Which files of a data set may be read: those below its root, and where links may lead."""

import os
from collections.abc import Sequence
from pathlib import Path


def written(text: str) -> str:
    """A name as it is written into files: it need not be Unicode, and what is written is."""
    return text.encode("utf-8", "backslashreplace").decode()


def hub_cache() -> Path:
    """Where huggingface_hub keeps what it downloads, found without importing it."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or Path(home) / "hub")


class Fence:
    """Which files may be read: those below a root or below `links`, with `..` and symbolic links followed.

    The cache of the Hugging Face hub, whose snapshots are links, is one of the links.
    """

    def __init__(self, root: Path, links: Sequence[Path] = ()) -> None:
        self._root = root.resolve()
        allowed = [*links, hub_cache()]
        if self._root.parent.name == "snapshots":  # a cache that was copied here
            allowed.append(self._root.parent.parent / "blobs")
        self._allowed = [self._root, *(folder.expanduser().resolve() for folder in allowed)]
        self._folders: dict[Path, Path] = {}  # many images share a folder

    def holds(self, path: Path) -> bool:
        """Whether the file or folder lies inside; raises OSError, ValueError or RuntimeError for what is no name."""
        resolved = self._resolved(path)
        return any(resolved.is_relative_to(folder) for folder in self._allowed)

    def refusal(self, path: Path) -> str:
        """Why the file is not read, in words; empty when nothing speaks against it."""
        try:
            if b"\0" in str(path).encode():
                return "not a usable file name"
            if not self.holds(path):
                target = written(str(self._resolved(path).parent))
                return f"outside the root folder: it lies in {target}, which dataset.links=[{target}] allows"
            if not path.is_file():
                return "missing"
            return "" if os.access(path, os.R_OK) else "not permitted to read"
        except (OSError, ValueError, RuntimeError):  # too long, not Unicode, a loop of links
            return "not a usable file name"

    def _resolved(self, path: Path) -> Path:
        if path.is_symlink() or path.name == "..":
            return path.resolve()
        folder = path.parent
        if folder not in self._folders:
            self._folders[folder] = folder.resolve()
        return self._folders[folder] / path.name
