"""The COCO layout (Lin et al., ECCV 2014), as the official archives unpack and as `scenes` writes it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i.data.base import Dataset, Sample, clean, inventory
from t2i.errors import ConfigError, UserError


@dataclass
class Coco(Dataset):
    """Captions and instances of the COCO layout; domains are supercategories, categories are category names."""

    kind: str = "coco"
    name: str = "coco"
    obtain: str = "from https://cocodataset.org/#download"
    train_split: str = "train2017"
    """Training split, as in annotations/captions_<split>.json."""
    held_out_split: str = "val2017"
    """Held-out split, as in annotations/captions_<split>.json."""

    def layout(self) -> str:
        return (
            f"annotations/captions_{self.train_split}.json, annotations/instances_{self.train_split}.json and "
            f"{self.train_split}/ (and the same for {self.held_out_split}: the archives unpacked side by side)"
        )

    def listing(self, split: str) -> list[Sample]:
        root = self.location()
        name = self.train_split if split == "train" else self.held_out_split
        captions = _read(self._annotation(root, "captions", name))
        try:
            domains, categories = self._labels(root, name)
            images = sorted(captions["images"], key=lambda image: image["id"])
            files = [image["file_name"] for image in images]
            texts: dict[int, list[str]] = {}
            for annotation in sorted(captions["annotations"], key=lambda annotation: annotation["id"]):
                texts.setdefault(annotation["image_id"], []).append(annotation["caption"])
        except (KeyError, TypeError) as error:
            raise UserError(
                f"the annotations of {name} in {root} lack {error}: expected COCO's files as published."
            ) from error
        folder = _image_folder(root, name, files, self.layout())
        return [
            Sample(
                id=str(image["id"]),
                path=folder / image["file_name"],
                captions=clean(texts.get(image["id"], ())),
                domains=tuple(sorted(domains.get(image["id"], ()))),
                categories=tuple(sorted(categories.get(image["id"], ()))),
            )
            for image in images
        ]

    def _annotation(self, root: Path, kind: str, split: str) -> Path:
        path = root / "annotations" / f"{kind}_{split}.json"
        if path.is_file():
            return path
        raise UserError(f"{path.relative_to(root)} is missing: {inventory(root)}, expected {self.layout()}.")

    def _labels(self, root: Path, split: str) -> tuple[dict[int, set[str]], dict[int, set[str]]]:
        """Supercategories and category names of each image id; a caption-only folder has none."""
        domains: dict[int, set[str]] = {}
        categories: dict[int, set[str]] = {}
        if not self.domains and not (root / "annotations" / f"instances_{split}.json").exists():
            return domains, categories
        instances = _read(self._annotation(root, "instances", split))
        known = {category["id"]: category for category in instances["categories"]}
        for annotation in instances["annotations"]:
            category = known[annotation["category_id"]]
            domains.setdefault(annotation["image_id"], set()).add(category["supercategory"])
            categories.setdefault(annotation["image_id"], set()).add(category["name"])
        return domains, categories

    def validate(self) -> None:
        super().validate()
        for key in ("train_split", "held_out_split"):
            value = getattr(self, key)
            if not value or "/" in value or ".." in value:
                raise ConfigError(f"dataset.{key}={value} is not a split name such as train2017.")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}): unpack the archive again.") from error
    missing = [key for key in ("images", "annotations") if not isinstance(content, dict) or key not in content]
    if missing:
        raise UserError(f"{path} has no {missing[0]!r}: expected a COCO annotation file with images and annotations.")
    return content


def _image_folder(root: Path, split: str, names: list[str], layout: str) -> Path:
    """The folder to which `file_name` is relative: the first one in which an image of the split lies."""
    folders = [root / "images" / split, root / "images", root / split, root]
    for name in names:
        for folder in folders:
            if (folder / name).is_file():
                return folder
    if not names:
        return folders[0]
    raise UserError(
        f"none of the {len(names)} images of {split} (the first is {names[0]}) lies in images/{split}/, images/ or "
        f"{split}/: {inventory(root)}, expected {layout}."
    )
