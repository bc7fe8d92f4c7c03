"""What task=train leaves loads with plain diffusers and draws the picture that t2i draws from the same seed.

Tolerance: 1 of 255 grey levels. The exported pipeline holds the sum of the base weights and a LoRA's update, rounded to
float32, where t2i adds the two on the way.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from t2i.config import Config, compose
from t2i.context import Run
from t2i.errors import UserError
from t2i.models.config import Model
from t2i.models.load import Models, load
from t2i.sampling.config import Guidance, Scheduler
from t2i.sampling.sampler import encode, sample
from t2i.stages.training import trained
from t2i.stages.tuned import Tuned, apply_tuned
from t2i.store import Store
from t2i.training.lora import Lora

TOLERANCE = 1
PROMPT, SEED, STEPS = "a red cat", 11, 4
CASES = {
    "attn2_to_v": ["strategy=attn2_to_v"],
    "lora": ["strategy=lora"],
    "lora with alpha 12 and rank 2": ["strategy=lora", "strategy.rank=2", "strategy.alpha=12"],
    "lora on attn2.to_v": ["strategy=lora", "strategy.rank=3", "strategy.alpha=12", "strategy.targets=[attn2.to_v]"],
    "lora with dropout": ["strategy=lora", "strategy.dropout=0.4"],
    # diffusers recognises the kohya layout of a text encoder only by an output projection, which is written for it
    "lora on both networks": ["strategy=lora", "strategy.text_targets=[q_proj,v_proj]", "strategy.alpha=8"],
    "lora on both, with an MLP": ["strategy=lora", "strategy.text_targets=[q_proj,fc1]", "strategy.alpha=8"],
    "lora on the text encoder": ["strategy=lora", "strategy.targets=[]", "strategy.text_targets=[q_proj,fc1]"],
    "lora by DoRA": ["strategy=lora", "strategy.use_dora=true"],
    "lora scaled by rsLoRA": ["strategy=lora", "strategy.use_rslora=true", "strategy.rank=2", "strategy.alpha=6"],
    "text_encoder": ["strategy=text_encoder"],
    "both": ["strategy=both"],
    "attn2": ["strategy=attn2"],
    "unet": ["strategy=unet"],
}
LORAS = [name for name in CASES if name.startswith("lora")]


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Prepared pictures and finished trainings, for all cases."""
    return Store(tmp_path_factory.mktemp("store"))


def configuration(toy: Model, case: str) -> Config:
    overrides = [
        "task=train", "model=tiny", f"model.source={toy.source}", f"model.resolution={toy.resolution}",
        f"model.width={toy.width}", "dataset=scenes", "dataset.train=8", "dataset.val=2", "training.steps=3",
        "training.batch_size=2", "training.warmup=0", "training.held_out_images=1", "strategy.learning_rate=0.05",
    ]  # fmt: skip
    return compose([*CASES[case], *overrides])


@pytest.fixture
def training(
    toy: Model, shared_store: Store, tmp_path: Path, request: pytest.FixtureRequest
) -> tuple[Tuned, dict[str, float]]:
    """The tuned weights of one case and the numbers of its training."""
    return trained(configuration(toy, request.param), Run(tmp_path, shared_store))


def by_t2i(models: Models) -> np.ndarray:
    scheduler, guidance = Scheduler(name="pndm", type="PNDMScheduler", steps=STEPS), Guidance(scale=7.5)
    (pictures,) = sample(models, encode(models, [PROMPT], guidance), [SEED], scheduler, guidance)
    return pictures[0].astype(int)


def by_diffusers(pipeline: StableDiffusionPipeline) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline(
        PROMPT,
        num_inference_steps=STEPS,
        guidance_scale=7.5,
        height=16,
        width=16,
        generator=torch.Generator("cpu").manual_seed(SEED),
    ).images[0]
    return np.asarray(image).astype(int)


def tuned_pictures(toy: Model, store: Store, tuned: Tuned) -> tuple[np.ndarray, np.ndarray]:
    """The picture of the base model and of the tuned one."""
    models = load(toy, store)
    base = by_t2i(models)
    apply_tuned(models, tuned)
    return base, by_t2i(models)


@pytest.mark.parametrize("training", CASES, indirect=True)
def test_exported_pipeline_draws_the_same_picture(
    toy: Model, shared_store: Store, training: tuple[Tuned, dict[str, float]]
) -> None:
    tuned, numbers = training
    base, ours = tuned_pictures(toy, shared_store, tuned)
    pipeline = StableDiffusionPipeline.from_pretrained(tuned.folder.parent / "pipeline", safety_checker=None)
    assert np.abs(ours - base).max() > 4 * TOLERANCE, "the training must be visible for the comparison to mean anything"
    assert np.abs(ours - by_diffusers(pipeline)).max() <= TOLERANCE
    assert numbers["reload_max_difference"] <= TOLERANCE
    assert not (tuned.folder.parent / "checkpoints").exists()


@pytest.mark.parametrize("training", LORAS, indirect=True)
def test_lora_file_loads_with_plain_diffusers(
    toy: Model, shared_store: Store, training: tuple[Tuned, dict[str, float]]
) -> None:
    tuned, _ = training
    _, ours = tuned_pictures(toy, shared_store, tuned)
    pipeline = StableDiffusionPipeline.from_pretrained(toy.source, safety_checker=None)
    pipeline.load_lora_weights(tuned.folder)
    assert np.abs(ours - by_diffusers(pipeline)).max() <= TOLERANCE


@pytest.mark.parametrize("training", [name for name in LORAS if "DoRA" not in name], indirect=True)
def test_lora_in_the_kohya_layout_draws_the_same_picture(
    toy: Model, shared_store: Store, training: tuple[Tuned, dict[str, float]]
) -> None:
    tuned, _ = training
    _, ours = tuned_pictures(toy, shared_store, tuned)
    state = load_file(tuned.folder / "kohya" / "lora.safetensors")
    assert all(name.startswith(("lora_unet_", "lora_te_")) for name in state)
    pipeline = StableDiffusionPipeline.from_pretrained(toy.source, safety_checker=None)
    pipeline.load_lora_weights(state)
    assert np.abs(ours - by_diffusers(pipeline)).max() <= TOLERANCE


def test_weights_of_another_base_are_refused(toy: Model, wider_toy: Model, shared_store: Store, tmp_path: Path) -> None:
    models = load(toy, shared_store)
    strategy = Lora()
    strategy.attach(models)
    strategy.save(models, tmp_path)
    with pytest.raises(UserError, match=r"was trained from model=toy with digest .* use the model that it was trained"):
        apply_tuned(load(wider_toy, shared_store), Tuned(tmp_path, "digest"))
