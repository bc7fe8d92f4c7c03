"""The splits of Karpathy and Fei-Fei (CVPR 2015): dataset_coco.json, dataset_flickr30k.json, dataset_flickr8k.json."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from t2i.data.files.json_stream import items
from t2i.data.files.stated import texts
from t2i.errors import UserError


@dataclass(frozen=True)
class Entry:
    """One image: `folder` and `coco_id` are COCO's alone."""

    file: str
    split: str
    captions: list[str]
    folder: str = ""
    coco_id: int = 0


def entries(path: Path) -> Iterator[Entry]:
    """The images in the order of the file; raises UserError when it is not one of Karpathy's."""
    try:
        for image in items(path, "images"):
            where = f"{path}, {image['filename']}"
            captions = [text for sentence in image["sentences"] for text in texts(sentence["raw"], where)]
            yield Entry(
                image["filename"], image["split"], captions, image.get("filepath", ""), int(image.get("cocoid", 0))
            )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"an image of {path} lacks {error}: expected filename, split and sentences, as Karpathy published them."
        ) from error
