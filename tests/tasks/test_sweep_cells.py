"""A cell of a sweep has the numbers of a run of its own, whatever key it differs in."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from t2i.config import as_override, compose
from t2i.models.load import load
from t2i.models.source import BUNDLED
from t2i.store import Store
from t2i.stories.evaluation import metrics_table

from ..conftest import SCENES, TOY, Ended, Lab

ARGUMENTS = [*SCENES, *TOY, "eval.metrics=[clip_score,kid]"]
SWEEP = [*ARGUMENTS, "task=sweep", "sweeps=guidance", "cfg.scale=3"]


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with another U-Net, as a folder of its own."""
    folder = tmp_path_factory.mktemp("models") / "other"
    models = load(compose([]).model, Store(folder.parent / "store"))
    shutil.copytree(BUNDLED, folder)
    for parameter in models.unet.parameters():
        parameter.data.mul_(0.9)
    models.unet.save_pretrained(folder / "unet")
    return folder


def space(**dimensions: list[Any]) -> str:
    """`sweeps.space` with these dimensions and no other; __ stands for a dot."""
    keys = {key.replace("__", "."): values for key, values in dimensions.items()}
    return as_override("+sweeps.space", {"cfg.scale": [3.0], **keys})


def cells(ended: Ended) -> list[dict[str, str]]:
    """What the table says of each cell."""
    assert ended.status == 0, ended.err + ended.out
    (section,) = ended.json("sections.json")
    table = section["tables"][0]
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def alone(lab: Lab, *arguments: str) -> dict[str, str]:
    """The same of a run of its own."""
    ended = lab.here(*ARGUMENTS, "cfg.scale=3", "task=evaluate", *arguments)
    return {row[0]: row[1] for row in metrics_table({"value": ended.metrics})["rows"]}


def require_equal(lab: Lab, ended: Ended, key: str, values: list[Any]) -> None:
    """Every cell has the numbers of its own run; and these are not all the same."""
    own = [alone(lab, as_override(key, value)) for value in values]
    found = [{name: cell[name] for name in own[0]} for cell in cells(ended)]
    assert found == own
    assert len({json.dumps(numbers) for numbers in own}) == len(values)


def test_over_weights(lab: Lab, main_job: Ended, tuned_run: Path) -> None:
    values = [None, str(tuned_run)]
    require_equal(lab, lab.here(*SWEEP, space(weights=values)), "weights", values)


def test_over_models(lab: Lab, main_job: Ended, other_model: Path) -> None:
    values = [str(BUNDLED), str(other_model)]
    require_equal(lab, lab.here(*SWEEP, space(model__source=values)), "model.source", values)


def test_over_resolutions_and_the_pictures_are_of_the_size_that_is_told(lab: Lab, main_job: Ended) -> None:
    ended = lab.here(*SWEEP, space(model__resolution=[64, 96]))
    for stage in lab.root.glob("store/generated/[!.]*"):
        told = json.loads((stage / "manifest.json").read_text())["config"]["resolution"]
        assert Image.open(stage / "000000.png").size == (told, told)
    require_equal(lab, ended, "model.resolution", [64, 96])


def test_over_texts_that_are_none_or_hold_commas(lab: Lab, main_job: Ended) -> None:
    values = [None, "blurry, low quality", "None"]
    ended = lab.here(*SWEEP, space(cfg__negative_prompt=values), "sweeps.metric='clip_score[tiny_clip]'")
    require_equal(lab, ended, "cfg.negative_prompt", values)
    (section,) = ended.json("sections.json")
    best = max(cells(ended), key=lambda cell: float(cell["clip_score[tiny_clip]"].split()[0]))
    shown = section["facts"]["best"]
    assert {"None": "null", "blurry, low quality": "blurry, low quality"}.get(best["cfg.negative_prompt"], "") in shown


def test_over_lists_and_seeds(lab: Lab, main_job: Ended) -> None:
    values: list[Any] = [[0.0, 1000.0], [0.0, 100.0]]
    require_equal(lab, lab.here(*SWEEP, space(cfg__interval=values)), "cfg.interval", values)
    require_equal(lab, lab.here(*SWEEP, space(seed=[0, 5])), "seed", [0, 5])


def test_over_data(lab: Lab, main_job: Ended) -> None:
    require_equal(lab, lab.here(*SWEEP, space(dataset__held_out=[12, 9])), "dataset.held_out", [12, 9])


TRAINED = [*SWEEP, "training.validation_images=0", "+sweeps.fixed={strategy:attn2_to_v}", space(eval__seed=[0])]


def test_another_training_is_another_cell(lab: Lab, main_job: Ended) -> None:
    """The training is the same in all cells and no key of it is in the space: the study hangs on it nevertheless."""
    first, second = lab.here(*TRAINED, "training.steps=2"), lab.here(*TRAINED, "training.steps=3")
    assert (first.metrics["new_cells"], second.metrics["new_cells"]) == (1, 1)
    assert first.metrics["best.held_out_loss"] != second.metrics["best.held_out_loss"]
    again = lab.here(*TRAINED, "training.steps=2")
    assert again.metrics["new_cells"] == 0
    assert again.metrics["best.held_out_loss"] == first.metrics["best.held_out_loss"]


def test_what_lies_behind_a_path_may_change_under_its_name(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    """A cell is known by the bytes of its files: other weights under the same name are another cell."""
    weights = tmp_path / "weights"
    shutil.copytree(main_job.folder / "weights", weights)
    arguments = [*SWEEP, space(weights=[str(weights)])]
    assert lab.here(*arguments).metrics["new_cells"] == 1
    assert lab.here(*arguments).metrics["new_cells"] == 0
    shutil.rmtree(weights)
    from safetensors.torch import load_file, save_file

    shutil.copytree(main_job.folder / "weights", weights)
    (weights / "manifest.json").unlink()
    path = weights / "pytorch_lora_weights.safetensors"
    save_file({name: value + 0.2 for name, value in load_file(path).items()}, path)
    ended = lab.here(*arguments)
    assert ended.metrics["new_cells"] == 1
    require_equal(lab, ended, "weights", [str(weights)])


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["+sweeps.fixed={sampling.compil:true}"], "did you mean sampling.compile?"),
        (["+sweeps.fixed={launch.mixed_precision:fp16}"], "launch.mixed_precision is no key that a cell reads"),
        ([space(sampling__channels_last=[True, False])], "change no number of a cell (speed: equal to rounding)"),
        ([space(cfg=[False, "low"])], "write them in quotes"),
        ([space(strategy=["lora", "unet"]), "weights={run}"], "remove one of both"),
        (["sweeps.reference=ddim", "eval.reference={run}"], "are two references"),
    ],
)
def test_what_a_sweep_could_not_honour_is_refused(lab: Lab, main_job: Ended, more: list[str], sentence: str) -> None:
    ended = lab.here(*SWEEP, *(text.format(run=main_job.folder) if text.endswith("{run}") else text for text in more))
    assert ended.status == 2 and sentence in ended.err, ended.err
