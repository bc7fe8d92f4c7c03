"""`task=export` on the command line: each format is written, read back, and explained by a card whose code runs."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from t2i.config import compose
from t2i.models.load import load
from t2i.store import Store

from ..conftest import Ended, Lab

FORMATS = ["diffusers", "single_file", "kohya", "peft"]
SENTENCE = "**Better.** The tuned model against its base."


@pytest.fixture(scope="module")
def lora_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with an adapter on both networks, as a pipeline would leave it: weights, configuration, verdict."""
    folder = tmp_path_factory.mktemp("lora") / "12-00-00_pipeline_abcdef"
    return written(folder, ["strategy=lora", "strategy.text_targets=[q_proj,v_proj]", "strategy.alpha=8"])


def written(folder: Path, overrides: list[str]) -> Path:
    from omegaconf import OmegaConf

    from t2i.config import as_dict

    config = compose(overrides)
    models = load(config.model, Store(folder.parent / "store"))
    config.strategy.attach(models)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in config.strategy.trainable(models).values():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    (folder / "weights").mkdir(parents=True)
    config.strategy.save(models, folder / "weights")
    (folder / "weights" / "README.md").write_text(
        "---\nlicense: x\n---\n# Told by the training\n\n## Measured\n\nmuch\n"
    )
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(as_dict(config))))
    (folder / "sections.json").write_text(json.dumps([{"facts": {"verdict": SENTENCE}}, {"facts": {}}]))
    return folder


@pytest.mark.filterwarnings("error:Found missing adapter keys")
def test_an_export_reads_back_and_its_cards_code_draws_the_same_picture(
    lab: Lab, lora_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {}
    for name in FORMATS:
        ended = lab.here("task=export", f"run={lora_run}", f"format={name}")
        assert ended.metrics["reload_max_difference"] <= 1
        folder = ended.folder / "export"
        card = (folder / "README.md").read_text()
        header = yaml.safe_load(card.split("---\n")[1])
        assert header["license"] == "apache-2.0" and ("lora" in header["tags"]) == (name in ("kohya", "peft"))
        assert "base_model" not in header, "the hub has no model of that name"
        assert SENTENCE in card and "Apache License 2.0" in card and "## Told by the training" in card
        (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
        assert '"tiny"' in code or name == "diffusers", "the base model's name, where it has none on the hub"
        monkeypatch.chdir(folder)
        code = re.sub(r"steps=\d+", "steps=2", code.replace('"tiny"', f'"{compose([]).model.source}"'))
        exec(code.replace("picture = ", "torch.manual_seed(0)\npicture = "), {"torch": torch})
        pictures[name] = np.asarray(Image.open(folder / "picture.png")).astype(int)
    torch.manual_seed(0)
    base = StableDiffusionPipeline.from_pretrained(compose([]).model.source)
    plain = np.asarray(base("a red bus on a street", num_inference_steps=2, height=64, width=64).images[0]).astype(int)
    assert np.abs(pictures["diffusers"] - plain).max() > 20
    assert [name for name, own in pictures.items() if np.abs(own - pictures["diffusers"]).max() > 1] == []


def test_half_precision_halves_the_file_and_is_read(lab: Lab, lora_run: Path) -> None:
    sizes = {
        dtype: lab.here("task=export", f"run={lora_run}", "format=single_file", f"dtype={dtype}").metrics["bytes"]
        for dtype in ("fp32", "fp16")
    }
    assert sizes["fp16"] == pytest.approx(sizes["fp32"] / 2, rel=0.02)


def test_what_a_run_trained_alone_is_read_back_from_half_the_bytes(
    lab: Lab, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = lab.here("task=export", f"run={runs['whole']}", "format=weights", "dtype=fp16")
    assert ended.metrics["reload_max_difference"] <= 4, "weights are rounded to three digits"
    (folder,) = (path for path in (ended.folder / "export").iterdir() if path.is_dir())
    own, halved = (load_file(root / "weights.safetensors") for root in (runs["whole"] / "weights", folder))
    assert list(own) == list(halved) and all(torch.equal(own[name].half(), halved[name]) for name in own)
    assert (folder / "weights.safetensors").stat().st_size < 0.52 * sum(4 * t.numel() for t in own.values()) + 4000
    drawn = lab.here("task=generate", "prompts=[a red cat]", "scheduler.steps=2", f"weights={folder}")
    assert drawn.status == 0
    (code,) = re.findall(r"```python\n(.*?)```", (ended.folder / "export" / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(ended.folder / "export")
    found: dict[str, Any] = {}
    exec(re.sub(r"steps=\d+", "steps=2", code.replace('"tiny"', f'"{compose([]).model.source}"')), found)
    network = found["pipeline"].unet.state_dict()
    assert all(torch.equal(network[name.removeprefix("unet.")], tensor.float()) for name, tensor in halved.items())


def test_a_separate_adapter_lies_beside_the_base(lab: Lab, lora_run: Path) -> None:
    ended = lab.here("task=export", f"run={lora_run}", "fused=false")
    assert ended.metrics["reload_max_difference"] <= 1
    base = load_file(ended.folder / "export" / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors")
    own = load_file(Path(compose([]).model.source) / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(base[name], tensor.float()) for name, tensor in own.items())
    assert (ended.folder / "export" / "pytorch_lora_weights.safetensors").exists()


def test_several_adapters_become_one_file_exactly(lab: Lab, lora_run: Path, tmp_path: Path) -> None:
    file = lora_run / "weights" / "kohya" / "lora.safetensors"
    other = {name: tensor * (0.5 if "lora_up" in name else 1) for name, tensor in load_file(file).items()}
    save_file(other, tmp_path / "other.safetensors")
    both = [f"weights=[{file},{tmp_path}/other.safetensors]", "weights_scale=[0.8,-0.6]"]
    for format_ in ("kohya", "single_file"):
        assert lab.here("task=export", *both, f"format={format_}").metrics["reload_max_difference"] <= 1, format_


def test_pictures_of_several_adapters_are_made_again_from_their_recipe(lab: Lab, lora_run: Path) -> None:
    file = lora_run / "weights" / "kohya" / "lora.safetensors"
    drawn = lab.here(
        "task=generate",
        "prompts=[a red cat]",
        "scheduler.steps=2",
        f"weights=[{file},{lora_run}]",
        "weights_scale=[0.5,0.25]",
    )
    picture = drawn.folder / "images" / "000000.png"
    again = lab.here("task=generate", f"recipe={picture}")
    assert again.metrics["identical"] == 1
    from t2i.sampling.recipe import read_recipe

    assert read_recipe(picture)["weights"]["scale"] == [0.5, 0.25]
    other = lab.here("task=generate", "prompts=[a red cat]", "scheduler.steps=2", f"weights={file}")
    assert (
        np.asarray(Image.open(other.folder / "images" / "000000.png")).tolist()
        != np.asarray(Image.open(picture)).tolist()
    )


REFUSED = {
    "a base model as an adapter": (["format=kohya"], "format=kohya needs an adapter"),
    "whole weights as an adapter": (["format=peft", "run={whole}"], "format=peft needs an adapter"),
    "an adapter that is fused": (["format=kohya", "fused=true", "run={lora}"], "is a file of adapters alone"),
    "a single file apart": (
        ["format=single_file", "fused=false", "run={lora}"],
        "holds one model with its adapters added",
    ),
    "an adapter as weights": (["format=weights", "run={lora}"], "for an adapter use format=kohya"),
    "a base model as weights": (["format=weights"], "and this is the base model: give such a run with run="),
    "words as weights": (
        ["format=weights", "run={words}"],
        "and this is a textual inversion: use format=diffusers. The run has left for other programs its words in "
        "{words}/weights/learned_embeds.safetensors",
    ),
    "words for kohya": (["format=kohya", "run={words}"], "its words in {words}/weights/learned_embeds.safetensors"),
    "words in a single file": (
        ["format=single_file", "run={words}"],
        "no vocabulary for a textual inversion; use format=diffusers. The run has left for other programs its words in {words}/",
    ),
    "words with an adapter for kohya": (
        ["format=kohya", "run={pivotal}"],
        "and there is a textual inversion beside them; use format=diffusers. The run has left for other programs its words in "
        "{pivotal}/weights/learned_embeds.safetensors and its LoRA in {pivotal}/weights/kohya/lora.safetensors",
    ),
    "weights that are fused": (["format=weights", "fused=true", "run={whole}"], "leave out fused="),
    "no run": (["run=/nowhere"], "run=/nowhere is no run folder"),
    "a DoRA for kohya": (["format=kohya", "run={dora}"], "format=kohya has no place for a DoRA's magnitudes"),
}


@pytest.fixture(scope="module")
def runs(lora_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    dora, whole = root / "dora", root / "whole"
    written(dora, ["strategy=lora", "strategy.use_dora=true"])
    written(whole, ["strategy=attn2_to_v"])
    written(root / "words", ["strategy=textual_inversion"])
    written(root / "pivotal", ["strategy=pivotal", "strategy.rank=2"])
    return {"lora": lora_run, "dora": dora, "whole": whole, "words": root / "words", "pivotal": root / "pivotal"}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_format_cannot_hold_is_refused_before_anything_is_loaded(
    lab: Lab, runs: dict[str, Path], case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import t2i.models.load

    monkeypatch.setattr(t2i.models.load, "load", lambda *_: pytest.fail("a network was loaded"))
    arguments, sentence = REFUSED[case]
    ended = lab.here("task=export", *(argument.format(**runs) for argument in arguments))
    assert ended.status == 2 and sentence.format(**runs) in ended.err and ended.err.count("\n") == 1, ended.err


def test_the_base_model_is_converted(lab: Lab) -> None:
    ended = lab.here("task=export", "format=single_file")
    (file,) = (ended.folder / "export").glob("*.safetensors")
    same = lab.here("task=generate", "prompts=[a red cat]", "scheduler.steps=2", f"model.source={file}")
    own = lab.here("task=generate", "prompts=[a red cat]", "scheduler.steps=2")
    pictures = [np.asarray(Image.open(run.folder / "images" / "000000.png")) for run in (same, own)]
    assert np.array_equal(*pictures)


def test_a_pipeline_of_an_older_store_is_put_right_when_it_is_copied(lab: Lab, main_job: Ended) -> None:
    """Its stage stays as it was: nothing is trained again, and no file of the store is rewritten."""
    from t2i.models.layout import copy
    from t2i.models.safetensors_file import header_of, rename
    from t2i.stages.copies import linked

    source = lab.root / "older"
    shutil.copytree(main_job.folder / "pipeline", source)
    text = source / "text_encoder" / "model.safetensors"
    rename(text, text, lambda name: name.removeprefix("text_model."))
    for name in ("vocab.json", "merges.txt"):
        (source / "tokenizer" / name).unlink()
    before = text.read_bytes()
    copy(source, lab.root / "put_right", linked)
    assert text.read_bytes() == before and not (source / "tokenizer" / "vocab.json").exists()
    names = header_of(lab.root / "put_right" / "text_encoder" / "model.safetensors").shapes
    assert all(name.startswith("text_model.") for name in names) and len(names) == 68
    for name in ("vocab.json", "merges.txt"):
        ours = Path(compose([]).model.source) / "tokenizer" / name
        theirs = lab.root / "put_right" / "tokenizer" / name
        read = json.loads if name.endswith("json") else str.split
        assert read(theirs.read_text()) == read(ours.read_text())


def test_the_card_of_exported_words_draws_with_them(
    lab: Lab, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = lab.here("task=export", f"run={runs['words']}")
    folder = ended.folder / "export"
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert 'prompt="a photo of <subject>"' in code
    monkeypatch.chdir(folder)
    found: dict[str, Any] = {}
    exec(re.sub(r"steps=\d+", "steps=2", code), found)
    assert "<subject>" in found["pipeline"].tokenizer.get_vocab() and (folder / "picture.png").is_file()


def test_a_word_that_nobody_taught_is_told_and_drawn(lab: Lab, runs: dict[str, Path]) -> None:
    typed = ["task=generate", 'prompts=["a photo of <rex> and <subject>"]', "scheduler.steps=2"]
    for weights, sentence in (
        ([], "<rex>, <subject>: no words that the model was taught"),
        ([f"weights={runs['words']}"], "<rex>: no word that the model was taught, and read in pieces; weights= teach <subject>"),
    ):  # fmt: skip
        ended = lab.here(*typed, *weights)
        assert ended.status == 0 and sentence in ended.out and ended.out.count("was taught") == 1
