"""What the model card of tuned weights says: where they come from, and how they are used."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from t2i.config import CONF, Config
from t2i.context import Run
from t2i.models import source
from t2i.models.adapters.kinds import LORA
from t2i.models.config import Init
from t2i.stages.networks import model_digest
from t2i.stages.prepared import Prepared, training_split
from t2i.stages.stage import made

if TYPE_CHECKING:
    from t2i.training.card import Provenance, Usage


def provenance(config: Config, run: Run) -> "Provenance":
    """Model, data and licences."""
    from t2i.training.card import COCO_LICENSES, Provenance

    data = Prepared(config).read(run)
    licenses = data.licenses("train")
    if config.dataset.kind == "coco":
        licenses = {COCO_LICENSES.get(name, name): count for name, count in licenses.items()}
    return Provenance(
        model=config.model.name,
        source=hub_id(config),
        license=config.model.license,
        model_digest=model_digest(config, run),
        dataset=config.dataset.name,
        data_digest=made(Prepared(config), run).digest,
        pictures=len(training_split(config, data)),
        licenses=licenses,
    )


def usage(config: Config) -> "Usage | None":
    """The code that uses a run's weights as they lie in its folder; None where only a pipeline reads them."""
    from t2i.training.card import Usage

    family = source.family(config.model)
    blank = Usage(
        "kohya",
        hub_id(config),
        LORA,
        "",
        config.model.resolution,
        config.scheduler.steps,
        family.pipelines[0],
        family.absent,
        tuple(getattr(config.strategy, "placeholders", ())),
    )
    if config.strategy.kind == "lora":
        return blank
    return replace(blank, format="diffusers", name="../pipeline") if config.training.export_pipeline else None


def hub_id(config: Config) -> str:
    """Where the base model can be fetched: the hub's id, or for a folder of one's own the id that this model has as
    published; its name where there is none.
    """
    import yaml

    if config.model.init is Init.random:
        return config.model.name
    given = config.model.source
    if not Path(given).expanduser().exists() and not given.startswith(("/", "~", ".")):
        return given
    for part in Path(given).parts:  # the hub's cache: models--<owner>--<name>
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/", 1)
    path = CONF / "model" / f"{config.model.name}.yaml"
    published = yaml.safe_load(path.read_text(encoding="utf-8")).get("source", "") if path.exists() else ""
    return published if "/" in published and "$" not in published else config.model.name
