"""Every file in conf/ and sweeps/ composes; the option surface changes only on purpose."""

import copy
import dataclasses
import functools
import json
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

from t2i.config import SCHEMAS, Config, Task, as_dict, compose, restore
from t2i.errors import ConfigError

from .conftest import PROJECT

GROUPS = [path for path in sorted(PROJECT.glob("conf/*/*.yaml")) if path.parent.name != "accelerate"]  # not ours
FILES = [*GROUPS, *sorted(PROJECT.glob("sweeps/*.yaml"))]
OPTIONS = [f"{path.parent.name}={path.stem}" for path in FILES]
HEAVY = {"torch", "numpy", "scipy", "diffusers", "transformers", "datasets", "mlflow", "matplotlib", "optuna", "PIL"}

SURFACE = """
batch_size
bundle
cfg.interval
cfg.negative_prompt
cfg.prompt_weights
cfg.rescale
cfg.scale
charts.guidance
charts.images
charts.prompts
charts.rows
charts.schedulers
charts.steps
clip.batch_size
clip.chunk
clip.epochs
clip.every_epoch
clip.forgetting
clip.generate
clip.head_learning_rate
clip.images
clip.keep
clip.layer_decay
clip.learning_rate
clip.max_logit_scale
clip.projection
clip.rank
clip.resume
clip.seed
clip.source
clip.targets
clip.text_from_model
clip.towers
clip.warmup
clip.weight_decay
dataset.background
dataset.caption
dataset.character
dataset.class_word
dataset.columns.caption
dataset.columns.id
dataset.columns.image
dataset.columns.license
dataset.columns.split
dataset.crop
dataset.domains
dataset.fraction
dataset.held_out
dataset.held_out_share
dataset.held_out_split
dataset.hub
dataset.hub_subset
dataset.kaggle
dataset.karpathy
dataset.keywords
dataset.kind
dataset.labels
dataset.light
dataset.limit
dataset.links
dataset.name
dataset.near_bits
dataset.near_duplicates
dataset.obtain
dataset.quarantine
dataset.regularisation
dataset.resolution
dataset.revision
dataset.root
dataset.seed
dataset.size
dataset.subset
dataset.templates
dataset.train
dataset.train_split
dataset.val
debug
dtype
elsewhere
eval.batch_size
eval.class_prompts
eval.clip
eval.dinov2
eval.exact
eval.extractor
eval.hpsv2
eval.images
eval.inception
eval.judge
eval.metrics
eval.pickscore
eval.prompts
eval.reference
eval.replicates
eval.resize
eval.resolution
eval.seed
eval.vlm
format
fused
image
images
images_per_prompt
launch.mixed_precision
launch.processes
launch.shard
mask
model.architecture
model.cross_attention_layers
model.init
model.license
model.name
model.parameters
model.resolution
model.revision
model.source
model.tokens
model.width
model.without
outputs
parts
pictures
plan
prompts
prompts_file
recipe
run
runs
sampling.attention_slicing
sampling.channels_last
sampling.compile
sampling.cpu_offload
sampling.engine
sampling.keep_text
sampling.vae_slicing
sampling.vae_tiling
scheduler.eta
scheduler.name
scheduler.options
scheduler.spacing
scheduler.steps
scheduler.type
seed
serve.credentials
serve.host
serve.hosts
serve.keep
serve.port
serve.queue
serve.rate
store.prune
store.verify
store.yes
strategy.alpha
strategy.clip
strategy.dropout
strategy.encoders
strategy.initializers
strategy.kind
strategy.learning_rate
strategy.placeholders
strategy.rank
strategy.targets
strategy.text_encoder_learning_rate
strategy.text_targets
strategy.use_dora
strategy.use_rslora
strategy.vectors
strategy.word_learning_rate
strategy.word_share
strength
sweeps.also
sweeps.apply
sweeps.budget
sweeps.direction
sweeps.fixed
sweeps.heartbeat
sweeps.metric
sweeps.name
sweeps.racing
sweeps.reference
sweeps.round
sweeps.sampler
sweeps.space
sweeps.storage
sweeps.study
sweeps.trials
sweeps.workers
task
then
track.artifacts
track.enabled
track.experiment
track.uri
training.attention_slicing
training.batch_size
training.cache_latents
training.cache_text
training.caption_dropout
training.captions.keep_tags
training.captions.prefix
training.captions.shuffle_tags
training.captions.suffix
training.captions.templates
training.channels_last
training.clip_norm
training.compile
training.ema
training.epochs
training.export_best
training.export_pipeline
training.flip
training.gradient_checkpointing
training.held_out_images
training.images
training.keep
training.log_every
training.micro_batch
training.milestones
training.min_snr_gamma
training.noise_offset
training.nonfinite
training.optimizer
training.prior
training.prior_images
training.prior_share
training.prior_weight
training.resume
training.resume_force
training.save_every
training.schedule
training.seed
training.steps
training.timestep_range
training.timesteps
training.validation_images
training.validation_prompts
training.warmup
training.weight_decay
training.zero_terminal_snr
weights
weights_scale
wildcards
"""


@pytest.fixture(scope="module")
def composed() -> Config:
    return compose([])


@pytest.mark.parametrize("option", OPTIONS)
def test_every_file_composes_and_reaches_workers_as_it_is(option: str, tmp_path: Path) -> None:
    overrides = [f"dataset.root={tmp_path}"] if option.startswith(("dataset=", "experiment=")) else []
    if option.startswith(("scheduler=flow_", "sweeps=flow_", "strategy=attn_add_v")):  # of another family than tiny's
        overrides = ["model=tiny_flow", *overrides]
    if option == "experiment=dreambooth":  # what nobody but its user knows
        overrides += ["dataset.class_word=dog"]
    config = compose([option, *overrides])
    config.validate()
    config.dataset.validate()
    group, _, name = option.partition("=")
    chosen = getattr(config, group, None)
    if hasattr(chosen, "name"):
        assert chosen.name == name
    received = restore(json.loads(json.dumps(as_dict(config))))
    assert received == config
    kinds = {name: type(getattr(config, name)) for name in SCHEMAS}
    assert {name: type(getattr(received, name)) for name in SCHEMAS} == kinds


def test_the_composed_is_what_it_says(composed: Config) -> None:
    config = composed
    chosen = {group: getattr(config, group).name for group in ("dataset", "model", "scheduler", "sweeps")}
    assert config.task is Task.pipeline
    assert chosen == {"dataset": "scenes", "model": "tiny", "scheduler": "dpmpp_2m", "sweeps": "quick"}
    assert (config.cfg.scale, config.strategy.kind, config.eval.extractor) == (7.5, "lora", "tiny_clip")


def test_an_experiment_sets_its_groups_and_the_command_line_wins(tmp_path: Path) -> None:
    config = compose(["experiment=coco_animals", f"dataset.root={tmp_path}", "training.epochs=3", "scheduler=euler"])
    assert (config.dataset.domains, config.model.name, config.strategy.kind) == (["animal"], "sd14", "attn2_to_v")
    assert (config.training.optimizer.value, config.launch.mixed_precision.value) == ("sgd", "fp16")  # type: ignore[union-attr]
    assert (config.training.epochs, config.scheduler.name, config.scheduler.steps) == (3, "euler", 40)


def surface(schema: type, prefix: str = "") -> set[str]:
    """Every key of a schema with the groups' members filled in."""
    keys = set()
    for field in dataclasses.fields(schema):
        kinds = list(SCHEMAS.get(field.name, {}).values()) if not prefix else []
        if not kinds and dataclasses.is_dataclass(field.type):
            kinds = [field.type]  # type: ignore[list-item]
        for kind in kinds:
            keys |= surface(kind, f"{prefix}{field.name}.")
        if not kinds:
            keys.add(prefix + field.name)
    return keys


def test_an_option_is_added_on_purpose() -> None:
    """A new option is an entry here too: it is a promise to users, and there should be few of them."""
    assert sorted(surface(Config)) == SURFACE.split()


def test_every_task_is_a_module_with_a_function_of_its_name() -> None:
    for task in Task:
        assert f"def {task.value}(config: Config, run: Run" in (PROJECT / f"t2i/tasks/{task.value}.py").read_text()


def test_every_option_has_its_meaning_beside_it() -> None:
    """The text under a field is what a user reads; a field without one has only a name."""
    import ast

    undocumented = []
    schemas = {schema for kinds in SCHEMAS.values() for schema in kinds.values()} | {Config}
    nested = {
        field.type for schema in schemas for field in dataclasses.fields(schema) if dataclasses.is_dataclass(field.type)
    }
    for schema in schemas | nested:
        for cls in (kind for kind in schema.__mro__ if dataclasses.is_dataclass(kind)):
            source = Path(sys.modules[cls.__module__].__file__ or "").read_text(encoding="utf-8")
            body = next(
                n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == cls.__name__
            ).body
            own = [node for node in body if isinstance(node, ast.AnnAssign)]
            inherited = {
                f.name for base in cls.__mro__[1:] if dataclasses.is_dataclass(base) for f in dataclasses.fields(base)
            }
            for node in own:
                name = node.target.id  # type: ignore[union-attr]
                after = body[body.index(node) + 1 : body.index(node) + 2]
                explained = after and isinstance(after[0], ast.Expr) and isinstance(after[0].value, ast.Constant)
                if not explained and name not in inherited and name not in SCHEMAS and not name.startswith("_"):
                    undocumented.append(f"{cls.__name__}.{name}")
    sections = {
        f"Config.{name}" for name in ("training", "sampling", "charts", "clip", "serve", "store", "launch", "track")
    }
    assert sorted(set(undocumented) - sections) == []


def test_help_lists_everything_and_imports_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", str(PROJECT / "run.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "hydra" in imported
    assert imported & HEAVY == set()
    for task in Task:
        assert f" {task.value} " in done.stdout
    for path in FILES:
        assert f"\n  {path.stem} " in done.stdout
    assert "schema_" not in done.stdout


INVALID: dict[str, list[object]] = {
    "cfg.scale": [float("nan"), float("inf"), -1],
    "clip.batch_size": [1],
    "clip.chunk": [0],
    "clip.epochs": [0],
    "clip.generate": [-1, 1],
    "clip.head_learning_rate": [0, 1e-3],
    "clip.images": [0],
    "clip.keep": [1],
    "clip.layer_decay": [0, 1.1],
    "clip.learning_rate": [0, float("nan"), 1],
    "clip.max_logit_scale": [0.5, float("inf")],
    "clip.rank": [0],
    "clip.resume": ["sometimes"],
    "clip.warmup": [-1],
    "clip.weight_decay": [-1, float("nan")],
    "cfg.rescale": [1.5],
    "charts.guidance": [[7.5], [5, 5]],
    "charts.images": [0],
    "charts.rows": [0],
    "charts.schedulers": [["ddim", "eulre"]],
    "charts.steps": [[10]],
    "parts": [[], ["data", "data"]],
    "sweeps.reference": ["dpmp"],
    "training.images": [0],
    "cfg.interval": [[5], [800, 200]],
    "scheduler.steps": [0],
    "scheduler.eta": [2],
    "training.steps": [0],
    "training.epochs": [0],
    "training.batch_size": [0],
    "training.micro_batch": [0],
    "training.caption_dropout": [1.5],
    "training.captions.keep_tags": [-1],
    "training.captions.templates": [["a photo"]],
    "training.noise_offset": [1, float("nan")],
    "training.timestep_range": [[0], [500, 400], [0, 1001]],
    "training.ema": [0, 1],
    "training.resume": ["sometimes"],
    "training.milestones": [[0]],
    "training.keep": [1],
    "training.save_every": [0],
    "training.warmup": [-1],
    "training.clip_norm": [0],
    "training.min_snr_gamma": [-1],
    "training.weight_decay": [-1],
    "training.held_out_images": [-1],
    "training.validation_images": [-1],
    "strategy.rank": [0],
    "strategy.dropout": [1],
    "strategy.learning_rate": [float("nan"), -1],
    "batch_size": [0],
    "images": [0],
    "images_per_prompt": [0],
    "eval.images": [1],
    "eval.metrics": [["fdi"], []],
    "eval.extractor": ["inceptoin"],
    "eval.resize": ["bilinear"],
    "eval.reference": ["no/such/run"],
    "eval.resolution": [0],
    "model.resolution": [65],
    "launch.processes": [0],
    "serve.host": ["0.0.0.0", "example.org"],
    "serve.keep": [0],
    "serve.port": [-1, 65536],
    "serve.queue": [0, 33],
    "serve.rate": [0],
    "sweeps.space": [{"cfg.scale": 5}],
    "weights": ["/nowhere", ["/nowhere"], 3, {"a": 1}],
    "weights_scale": [[0.5]],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in INVALID.items() for value in values])
def test_a_value_that_no_run_could_use_is_named_in_one_line(composed: Config, key: str, value: object) -> None:
    values = as_dict(composed)
    *groups, name = key.split(".")
    functools.reduce(dict.__getitem__, groups, values)[name] = value
    with pytest.raises(ConfigError) as caught:
        restore(values).validate()
    assert key in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_batch_must_be_a_multiple_of_the_processes(composed: Config) -> None:
    config = copy.deepcopy(composed)
    config.training.batch_size = 15
    config.validate(processes=3)
    with pytest.raises(ConfigError, match="use a multiple of 2"):
        config.validate(processes=2)


def test_enums_have_their_names_as_values() -> None:
    """`as_dict` writes values, the command line takes names: a worker could not read what differs."""

    def enums(schema: type) -> set[type[Enum]]:
        found: set[type[Enum]] = set()
        for field in dataclasses.fields(schema):
            for kind in (field.type, *getattr(field.type, "__args__", ())):
                if isinstance(kind, type) and issubclass(kind, Enum):
                    found.add(kind)
                if dataclasses.is_dataclass(kind):
                    found |= enums(kind)  # type: ignore[arg-type]
        return found

    schemas = [schema for kinds in SCHEMAS.values() for schema in kinds.values()]
    every = set().union(*(enums(schema) for schema in [Config, *schemas]))
    assert {kind.__name__ for kind in every} >= {"Task", "Precision", "Optimizer", "Direction", "Init"}
    for kind in every:
        assert all(member.name == member.value for member in kind)
