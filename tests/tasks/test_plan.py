"""`plan=true` says what a command would do, and it is what the command does."""

import re
from pathlib import Path

import pytest
import torch

from t2i.config import compose
from t2i.models.load import load
from t2i.models.weightless import weightless
from t2i.plan.downloads import missing
from t2i.plan.memory import _predict, training_memory
from t2i.store import Store

from ..conftest import SCENES, SWEEP, TOY, Ended, Lab

PIPELINE = [*SCENES, *TOY, *SWEEP]
SD15 = 859_520_964 + 123_060_480 + 83_653_863
"""Parameters of U-Net, text encoder and autoencoder, as they are published."""
VALUES = 9_584_640
"""Of the 16 value projections of cross-attention."""


def planned(lab: Lab, *arguments: str) -> Ended:
    ended = lab.here(*arguments, "plan=true")
    assert ended.status == 0, ended.err
    assert ended.folders == []
    return ended


def table(ended: Ended) -> dict[tuple[str, str], str]:
    """Step and stage to `in the store` or `to be made`."""
    rows = [re.split(r"\s{2,}", line) for line in ended.out.splitlines()]
    return {(row[0], row[1]): row[2] for row in rows if len(row) > 2 and row[0] != "step"}


def new(ended: Ended) -> set[tuple[str, str]]:
    return {key for key, state in table(ended).items() if "to be made" in state}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Ended]:
    lab = Lab(tmp_path_factory.mktemp("before"))
    return lab, planned(lab, *PIPELINE)


def test_before_a_run_everything_is_to_be_made_and_nothing_is_done(before: tuple[Lab, Ended]) -> None:
    lab, ended = before
    found = table(ended)
    assert len(found) > 20 and all("in the store" not in state for state in found.values())
    order = [name for _, name in found]
    assert order.index("prepared") < order.index("latents") < order.index("training") < order.index("comparison")
    assert "time: unknown until measured" in ended.out and "downloads: none" in ended.out
    assert not [path for path in lab.root.rglob("*") if path.is_file() and path.name != "file_digests.sqlite"]


def test_after_a_run_everything_is_in_the_store(lab: Lab, main_job: Ended) -> None:
    ended = planned(lab, *PIPELINE)
    found = table(ended)
    assert {re.sub(r"^\d+ ", "", state) for state in found.values()} == {"in the store"}
    used = {name.partition("/")[0] for name in main_job.json("stages.json")}
    assert {name for _, name in found} | {"scenes"} >= used - {"latents", "text_states"}
    assert "time: everything is in the store" in ended.out


def test_another_guidance_scale_needs_its_own_pictures_and_numbers_only(lab: Lab, main_job: Ended) -> None:
    ended = planned(lab, *PIPELINE, "cfg.scale=4.5")
    assert new(ended) == {
        ("base", "generated"), ("base", "metrics"), ("tuned", "generated"), ("tuned", "metrics"),
        ("comparison", "comparison"), ("memorisation", "nearest"), ("memorisation", "generated"),
        ("memorisation", "train_scores"),
    }  # fmt: skip
    assert re.search(r"base +generated +to be made +about [\d.]+ kB +\d+ s", ended.out)  # as such sets took before
    made = lab.here(*PIPELINE, "task=evaluate", "cfg.scale=4.5")
    built = {name.partition("/")[0] for name, stage in made.json("stages.json").items() if not stage["reused"]}
    assert built == {"generated", "metrics"}
    assert new(planned(lab, *PIPELINE, "task=evaluate", "cfg.scale=4.5")) == set()
    assert ("base", "generated") not in new(planned(lab, *PIPELINE, "cfg.scale=4.5"))


def test_another_training_keeps_data_caches_and_the_base(lab: Lab, main_job: Ended) -> None:
    found = table(planned(lab, *PIPELINE, "training.seed=8"))
    kept = {key for key, state in found.items() if state == "in the store"}
    assert kept >= {("latents, train", "latents"), ("text states, held_out", "text_states"), ("base", "metrics")}
    assert (
        found["training", "training"] == found["tuned", "metrics"] == found["comparison", "comparison"] == "to be made"
    )
    assert found["sweep, 2 cells", "generated"] == "2 to be made"


def test_tasks_without_stages_say_so_and_mistakes_are_told(lab: Lab, main_job: Ended) -> None:
    assert "0 stages" in planned(lab, *SCENES, "task=doctor").out
    ended = lab.here(*SCENES, *TOY, "task=evaluate", "eval.images=1000", "plan=true")
    assert ended.status == 2 and "1000 held-out captions are needed" in ended.err


def test_what_is_not_on_this_machine_is_named_with_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    found = {own.resource: own for own in missing(compose(["experiment=coco_animals"]))}
    assert "cocodataset.org" in found["data"].what and "19 GB" in found["data"].size
    assert found["model"].size == "about 4.26 GB"  # 4 bytes for each of 1,066,235,307 parameters
    assert "clip-vit-base-patch32" in found["eval"].what
    assert missing(compose([])) == []


def test_memory_of_a_full_size_training_is_counted(tmp_path: Path) -> None:
    config = compose(["experiment=coco_animals", "model.init=random", f"dataset.root={tmp_path}"])
    models = weightless(config.model)
    assert models is not None
    memory = training_memory(config, models)
    assert memory is not None
    assert memory.weights == 2 * (SD15 - VALUES) + 4 * VALUES  # frozen ones in half precision
    assert (memory.gradients, memory.optimizer) == (4 * VALUES, 4 * VALUES)  # SGD keeps one momentum
    config.training.gradient_checkpointing = False
    whole = training_memory(config, models)
    assert whole is not None and whole.activations > 3 * memory.activations


def test_shards_divide_what_trains_and_gather_a_block_at_a_time(tmp_path: Path) -> None:
    typed = ["model=sd15", "model.init=random", "strategy=unet", "training.ema=0.999", "training.batch_size=4"]
    typed += ["training.gradient_checkpointing=true", "training.micro_batch=1", "launch.processes=4"]
    found = []
    for shard in ("false", "true"):
        config = compose([*typed, f"launch.shard={shard}"])
        config.validate(4)
        models = weightless(config.model)
        assert models is not None
        memory = training_memory(config, models)
        assert memory is not None
        found.append(memory)
    whole, share = found
    unet = 859_520_964
    assert whole.gathered == 0 and (whole.gradients, whole.optimizer) == (4 * unet, 8 * unet)
    assert (share.gradients, share.optimizer) == (unet, 2 * unet)
    assert whole.weights - share.weights == 2 * 4 * unet - 2 * unet, "the weights and their average"
    assert share.activations == whole.activations
    # The largest block of SD 1.x: a residual block of 2560 to 1280 channels - two norms, two 3 x 3 convolutions, the
    # embedding's projection and a 1 x 1 shortcut.
    largest = 2 * 2560 + (9 * 2560 + 1) * 1280 + 1281 * 1280 + 2 * 1280 + (9 * 1280 + 1) * 1280 + 2561 * 1280
    outside = share.gathered // 4 - 2 * largest
    assert 0 < outside < 0.1 * unet and share.total < 0.4 * whole.total


def test_activations_are_those_of_the_real_network(tmp_path: Path) -> None:
    """Counted without weights, and by PyTorch on the CPU with them."""
    config = compose(["strategy=unet", "training.micro_batch=2"])
    models = weightless(config.model)
    assert models is not None
    memory = training_memory(config, models)
    real = load(config.model, Store(tmp_path / "store"))
    config.strategy.attach(real)
    weights = {parameter.data_ptr() for parameter in real.unet.parameters()}
    kept: dict[int, tuple[int, torch.UntypedStorage]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes(), storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _predict(real.train() if hasattr(real, "train") else real, 2)
    assert memory is not None
    assert memory.activations == pytest.approx(sum(size for size, _ in kept.values()), rel=0.15)
