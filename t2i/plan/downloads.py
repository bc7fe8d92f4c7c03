"""What a run needs and this machine does not have: weights and data, with their sizes where they are known."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from t2i import spoken
from t2i.config import Config, Part, Task
from t2i.data.sources.scenes_dataset import Scenes
from t2i.errors import UserError
from t2i.evaluation.config import BUNDLED as BUNDLED_CLIP
from t2i.evaluation.config import CLIPS, JUDGES, Evaluation
from t2i.evaluation.extractors import vlm
from t2i.evaluation.extractors.inception_weights import CACHE, URL
from t2i.evaluation.extractors.judges import asked_for, judge_files
from t2i.models import published, source
from t2i.models.clip_files import locate
from t2i.models.config import Init
from t2i.training.contrastive.config import BUNDLED, RANDOM

SD1_VAE = 83_653_863
"""Parameters of the autoencoder of Stable Diffusion 1.x."""
DATA = {
    "coco": "about 19 GB (train2017.zip 18 GB, val2017.zip 1 GB, annotations 0.2 GB)",
    "cifar10": "163 MB",
    "flickr8k": "about 1.1 GB",
    "flickr30k": "about 4.4 GB",
}


@dataclass(frozen=True)
class Missing:
    """One thing that is not here."""

    resource: str
    """model, eval, clip or data: what needs it."""
    what: str
    size: str


def missing(config: Config) -> list[Missing]:
    """Everything that a run of this configuration would have to fetch, or that its user has to."""
    return [*_data(config), *_weights(config)]


def _data(config: Config) -> Iterator[Missing]:
    data = config.dataset
    drawn = isinstance(data, Scenes)  # another kind that was typed is refused, not missing
    if config.task in (Task.verify,) or drawn:
        return
    size = DATA.get(data.name, "size unknown")
    if data.root in ("", "???"):
        ways = f"kaggle.com: {data.kaggle}" if data.kaggle else data.obtain or "the hub"
        yield Missing("data", f"dataset={data.name} ({ways})", size)
    elif not Path(data.root).is_dir():
        yield Missing("data", f"dataset={data.name}: dataset.root={data.root} does not exist ({data.obtain})", size)


def _weights(config: Config) -> Iterator[Missing]:
    model, evaluation = config.model, config.eval
    parts = set(config.parts) if config.task is Task.pipeline else set()
    clip = config.task is Task.clip or Part.clip in parts
    draws = config.task not in (Task.prepare, Task.embed, Task.clip) and parts != {Part.data, Part.embed}
    if config.task is Task.pipeline:
        draws = bool(parts - {Part.data, Part.embed, Part.clip})
    if clip and (config.clip.generate or config.clip.text_from_model):
        draws = True
    if draws and model.init is not Init.random and not _here(lambda: source.locate(model)):
        bytes_ = 4 * (sum(model.parameters.values()) + SD1_VAE) if model.parameters else 0
        yield Missing("model", f"model={model.name} ({model.source})", _size(bytes_))
    if config.task not in (Task.prepare, Task.verify, Task.generate):
        measured = config.task is not Task.pipeline or bool(parts - {Part.data, Part.verify})
        if measured and evaluation.clip != BUNDLED_CLIP and not _here(lambda: locate(evaluation.clip)):
            yield Missing("eval", f"eval.clip={evaluation.clip}", published.told(evaluation.clip))
        numbers = config.task in (Task.evaluate, Task.sweep) or bool(parts & {Part.compare, Part.sweep})
        if numbers and evaluation.extractor == "inception":
            path = Path(evaluation.inception).expanduser() if evaluation.inception else CACHE / URL.rpartition("/")[2]
            if not path.is_file():
                yield Missing("numbers", f"Inception weights ({URL})", published.told("inception"))
        elif numbers and evaluation.extractor not in CLIPS and not _here(lambda: locate(evaluation.dinov2)):
            yield Missing("numbers", f"eval.dinov2={evaluation.dinov2}", published.told(evaluation.dinov2))
        if numbers:
            yield from _judges(evaluation)
    if clip and config.clip.source not in (BUNDLED, RANDOM) and not _here(lambda: locate(config.clip.source)):
        yield Missing("clip", f"clip.source={config.clip.source}", published.told(config.clip.source))


def _judges(evaluation: Evaluation) -> Iterator[Missing]:
    """Networks that single metrics ask for."""
    asked = asked_for(evaluation)
    if vlm.asked(evaluation) and "vqa_score" not in asked:
        asked.append("vqa_score")  # the same network
    for metric in asked:
        (key,) = JUDGES[metric]
        source_ = str(getattr(evaluation, key))
        if not _here(lambda metric=metric: judge_files(metric, evaluation)):
            yield Missing("numbers", f"eval.{key}={source_}", published.told(source_))


def _here(look: "object") -> bool:
    try:
        look()  # type: ignore[operator]
    except UserError:
        return False
    return True


def _size(count: int) -> str:
    return f"about {spoken.size(count)}" if count else "size unknown"
