"""Run by other Pythons, with older libraries: draws with each export and keeps the pictures.

python tests/reader.py jobs.json pictures.npz       # jobs: name -> {kind, path, base, prompt, seed, steps, size}
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from diffusers import StableDiffusionPipeline

FLOAT = {"torch_dtype": torch.float32, "safety_checker": None}


def opened(job: dict) -> StableDiffusionPipeline:
    """The pipeline as its card says."""
    path = Path(job["path"])
    if job["kind"] == "pipeline":
        _, info = transformers.CLIPTextModel.from_pretrained(path / "text_encoder", output_loading_info=True)
        missing = [name for name in info["missing_keys"] if "position_ids" not in name]
        assert not missing, f"{len(missing)} tensors of the text encoder are at random, e.g. {missing[0]}"
        return StableDiffusionPipeline.from_pretrained(path, **FLOAT)
    if job["kind"] == "plain":  # no dtype named
        return StableDiffusionPipeline.from_pretrained(path)
    if job["kind"] == "single_file":
        return StableDiffusionPipeline.from_single_file(str(path), config=job["base"], local_files_only=True, **FLOAT)
    pipeline = StableDiffusionPipeline.from_pretrained(job["base"], **FLOAT)
    if job["kind"] == "lora":
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name)
        return pipeline
    from peft import PeftModel

    for part in path.iterdir():
        network = PeftModel.from_pretrained(getattr(pipeline, part.name), str(part)).merge_and_unload()
        setattr(pipeline, part.name, network)
    return pipeline


def main(jobs: Path, target: Path) -> None:
    logging.disable()
    pictures = {}
    for name, job in json.loads(jobs.read_text()).items():
        pipeline = opened(job)
        pipeline.set_progress_bar_config(disable=True)
        image = pipeline(
            job["prompt"],
            num_inference_steps=job["steps"],
            height=job["size"],
            width=job["size"],
            generator=torch.Generator("cpu").manual_seed(job["seed"]),
            output_type="np",
        ).images[0]
        pictures[name] = (image * 255).round().astype(np.uint8)
    np.savez(target, **pictures)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
