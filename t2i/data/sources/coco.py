"""The COCO layout (Lin et al., ECCV 2014): as the official archives unpack, as Kaggle has it, as `scenes` writes it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from t2i.data.base import Dataset
from t2i.data.files.archives import unpack
from t2i.data.sample import Sample, clean
from t2i.data.sources import coco_index
from t2i.data.sources.coco_index import Index
from t2i.data.sources.extract import hashed
from t2i.data.sources.layouts import image_folder
from t2i.errors import ConfigError

if TYPE_CHECKING:
    from t2i.store import Store

UNPACKING = 1
"""Version of what is unpacked from archives."""


@dataclass
class Coco(Dataset):
    """Captions and instances of the COCO layout; domains are supercategories, categories are category names.

    Where only the archives lie below the root, `acquire` unpacks them into the store.
    """

    kind: str = "coco"
    name: str = "coco"
    obtain: str = "from https://cocodataset.org/#download"
    train_split: str = "train2017"
    """Training split, as in annotations/captions_<split>.json; with karpathy its names, joined by +."""
    held_out_split: str = "val2017"
    """Held-out split, as in annotations/captions_<split>.json; with karpathy its names, joined by +."""
    karpathy: str = ""
    """Karpathy's dataset_coco.json below the root, for its captions and splits in place of the official ones."""

    def layout(self) -> str:
        if self.karpathy:
            return f"{self.karpathy}, annotations/instances_train2014.json, train2014/ (and the same for val2014)"
        return (
            f"annotations/captions_{self.train_split}.json, annotations/instances_{self.train_split}.json and "
            f"{self.train_split}/ (and the same for {self.held_out_split}: the archives unpacked side by side)"
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._annotations: list[Path] = []  # folders besides the location's
        self._indexed: Callable[[str], Index] = self._index

    def location(self) -> Path:
        """The root, or the folder in it in which annotations/ lies (coco2017/ in Kaggle's copy)."""
        root = super().location()
        if (root / "annotations").is_dir():
            return root
        return next((path.parent for path in sorted(root.glob("*/annotations")) if path.is_dir()), root)

    def acquire(self, store: "Store") -> None:
        """Downloads, unpacks, and reads the annotations once for all runs."""
        super().acquire(store)
        self._annotations = []
        self._unpack(store)
        self._indexed = lambda split: self._stored_index(store, split)

    def listing(self, split: str) -> Iterator[Sample]:
        with closing(self._indexed(split)) as index:
            splits = self._image_splits(split)
            folder = image_folder(self, self._image_folders(splits), index.files(1000), len(index), "+".join(splits))
            for row in index:
                yield Sample(
                    id=str(row.id),
                    path=folder / row.file,
                    captions=clean(row.captions),
                    domains=tuple(row.domains),
                    categories=tuple(row.categories),
                    license=row.license,
                )

    def _image_splits(self, split: str) -> list[str]:
        """The official splits to which the images of `split` belong."""
        if self.karpathy:
            return ["train2014", "val2014"]
        return [self.train_split if split == "train" else self.held_out_split]

    def _image_folders(self, splits: list[str]) -> list[str]:
        return [*(f"images/{split}" for split in splits), "images", *splits, ""]

    def _sources(self, split: str) -> tuple[Path, list[Path], list[str]]:
        """The captions file, the instances files, and the splits to take from Karpathy's file."""
        splits = self._image_splits(split)
        if self.karpathy:
            captions = self.location() / self.karpathy
            if not captions.is_file():
                raise self.absent(f"{self.karpathy} is missing")
            names = self.train_split if split == "train" else self.held_out_split
            return captions, self._instances(splits), names.split("+")
        return self._annotation(f"captions_{splits[0]}.json"), self._instances(splits), []

    def _instances(self, splits: list[str]) -> list[Path]:
        names = [f"instances_{split}.json" for split in splits]
        if not self.domains:  # a caption-only folder has none
            names = [name for name in names if self._find(name)]
        return [self._annotation(name) for name in names]

    def _find(self, name: str) -> Path | None:
        folders = [self.location() / "annotations", *self._annotations]
        return next((folder / name for folder in folders if (folder / name).is_file()), None)

    def _annotation(self, name: str) -> Path:
        path = self._find(name)
        if path is None:
            raise self.absent(f"annotations/{name} is missing")
        return path

    def _index(self, split: str) -> Index:
        captions, instances, splits = self._sources(split)
        index = Index()
        index.fill(captions, instances, splits)
        return index

    def _stored_index(self, store: "Store", split: str) -> Index:
        captions, instances, splits = self._sources(split)
        digests = store.file_digests([captions, *instances])
        inputs = {path.name: digest for path, digest in zip([captions, *instances], digests, strict=True)}
        stage = store.stage(
            "coco_index",
            inputs,
            {"splits": splits},
            coco_index.VERSION,
            lambda folder: coco_index.write(folder / "index.sqlite", captions, instances, splits),
        )
        return Index(stage.path / "index.sqlite")

    def _unpack(self, store: "Store") -> None:
        """Unpacks what lies below the root as archives only: images, annotations or both."""
        root = self.location()
        splits = sorted({name for split in ("train", "held_out") for name in self._image_splits(split)})
        packed = [root / f"{split}.zip" for split in splits if (root / f"{split}.zip").is_file()]
        folders = [folder for split in splits for folder in (root / "images" / split, root / split)]
        images = packed if not any(folder.is_dir() for folder in folders) else []
        needed = [f"captions_{split}.json" for split in splits if not self.karpathy] or ["instances_train2014.json"]
        annotations = [] if all(self._find(name) for name in needed) else sorted(root.glob("annotations*.zip"))
        archives = [*images, *annotations]
        if not archives:
            return
        self._remarks.containers = archives
        inputs = hashed(store, {path.name: path for path in archives})

        wanted = (*(f"{split}/" for split in splits), "annotations/captions_", "annotations/instances_")

        def build(folder: Path) -> None:
            for archive in archives:
                unpack(archive, folder, lambda name: name.startswith(wanted))

        stage = store.stage("unpacked", inputs, {"splits": splits}, UNPACKING, build)
        self._annotations = [stage.path / "annotations", root / "annotations"]
        if images:
            self._place = stage.path

    def validate(self) -> None:
        super().validate()
        for key in ("train_split", "held_out_split"):
            value = getattr(self, key)
            if not value or "/" in value or ".." in value:
                raise ConfigError(f"dataset.{key}={value} is not a split name such as train2017.")
