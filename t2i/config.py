"""The schema of the configuration: every group, every option, and the tasks. The only module that names them all.

Hydra composes YAML files onto these dataclasses, so a misspelt key or value fails before anything is loaded;
`typed` turns the result into objects with behaviour.
"""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from t2i.data.base import Dataset
from t2i.data.sources.coco import Coco
from t2i.data.sources.flickr import Flickr
from t2i.data.sources.folder import Folder
from t2i.data.sources.hub import Hub
from t2i.data.sources.labelled import LabelledImages
from t2i.data.sources.scenes_dataset import Scenes
from t2i.data.sources.sharded import Shards
from t2i.errors import ConfigError, unknown
from t2i.evaluation.config import Evaluation
from t2i.models.adapters.kinds import refuse_weights
from t2i.models.config import Model
from t2i.places import COMMAND, CONFIGURATION, HOME, PACKAGE
from t2i.reporting.config import Charts
from t2i.sampling.config import Guidance, Sampling, Scheduler
from t2i.sweeps.config import Sweep
from t2i.tracking import Tracking
from t2i.training.config import Training
from t2i.training.contrastive.config import ClipTuning
from t2i.training.lora import Lora
from t2i.training.strategies import Attn2, Attn2KV, Attn2ToV, Both, Strategy, TextEncoder, UNet
from t2i.training.text_adapter import TextAdapter
from t2i.upkeep import Upkeep
from t2i.web.config import Serve

CONF = CONFIGURATION / "conf"
SWEEPS = CONFIGURATION / "sweeps"


class Task(Enum):
    """What to do; each is one function in t2i/tasks."""

    pipeline = "pipeline"
    prepare = "prepare"
    embed = "embed"
    verify = "verify"
    train = "train"
    clip = "clip"
    generate = "generate"
    evaluate = "evaluate"
    compare = "compare"
    drift = "drift"
    sweep = "sweep"
    report = "report"
    store = "store"
    doctor = "doctor"
    diff = "diff"
    bundle = "bundle"
    export = "export"
    rerun = "rerun"
    prompt = "prompt"
    serve = "serve"


class Part(Enum):
    """What task=pipeline is made of, in the order in which it is done."""

    data = "data"
    embed = "embed"
    verify = "verify"
    train = "train"
    compare = "compare"
    charts = "charts"
    sweep = "sweep"
    clip = "clip"


class Then(Enum):
    """How a pipeline goes on at a terminal."""

    prompt = "prompt"
    serve = "serve"


class Precision(Enum):
    """Arithmetic of the frozen networks and of autocast; trainable parameters are float32 always."""

    no = "no"
    fp16 = "fp16"
    bf16 = "bf16"


class Format(Enum):
    """How task=export writes weights."""

    diffusers = "diffusers"
    single_file = "single_file"
    kohya = "kohya"
    peft = "peft"


class Dtype(Enum):
    """Numbers in the files that task=export writes."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


@dataclass
class Launch:
    """On how many devices, and in which precision."""

    processes: int = 1
    """Processes of one run, one per GPU. More than one: the run is started again in each of them."""
    mixed_precision: Optional[Precision] = None
    """no, fp16 or bf16; null: what `accelerate launch` was given, otherwise no."""

    @property
    def precision(self) -> str:
        """no, fp16 or bf16."""
        return self.mixed_precision.value if self.mixed_precision else "no"


@dataclass
class Config:
    """One run."""

    task: Task = Task.pipeline
    """What to do."""
    dataset: Dataset = MISSING
    model: Model = MISSING
    strategy: Strategy = MISSING
    scheduler: Scheduler = MISSING
    cfg: Guidance = MISSING
    eval: Evaluation = MISSING
    sweeps: Sweep = MISSING
    parts: list[Part] = field(default_factory=lambda: [part for part in Part if part is not Part.clip])
    """What task=pipeline does, always in this order: data, embed, verify, train, compare, charts, sweep, clip."""
    then: Optional[Then] = None
    """prompt or serve: what task=pipeline goes on with when it is done, with its own weights, at a terminal; elsewhere it
    only says what to type."""
    charts: Charts = field(default_factory=Charts)
    training: Training = field(default_factory=Training)
    sampling: Sampling = field(default_factory=Sampling)
    clip: ClipTuning = field(default_factory=ClipTuning)
    serve: Serve = field(default_factory=Serve)
    store: Upkeep = field(default_factory=Upkeep)
    launch: Launch = field(default_factory=Launch)
    track: Tracking = field(default_factory=Tracking)
    weights: Any = None
    """Tuned weights: a run folder of task=train or pipeline, or what another tool made, in safetensors: LoRA or DoRA (diffusers,
    peft, kohya), textual inversion, a U-Net or text encoder; several at once as a list, [a.safetensors,b.safetensors]."""
    weights_scale: list[float] = field(default_factory=list)
    """How much of each adapter's change is taken, one number for each of `weights`, e.g. [0.8,0.4]; empty: 1."""
    prompts: list[str] = field(default_factory=list)
    """Captions for task=generate (empty: those of held-out pictures); texts whose nearest captions task=embed shows.
    '{red|blue}' in one stands for both, __colour__ for a line of <wildcards>/colour.txt."""
    prompts_file: Optional[str] = None
    """More prompts for task=generate: a text file (one a line), a JSON list, or a CSV file with a column prompt."""
    wildcards: Optional[str] = None
    """Folder of the text files behind __wildcards__."""
    images_per_prompt: int = 1
    """Pictures of each prompt, seeds one after another."""
    recipe: Optional[str] = None
    """A PNG that t2i made (or the JSON beside it), which task=generate makes again."""
    runs: list[str] = field(default_factory=list)
    """Run folders for task=report (empty: the newest pipeline run), task=compare or diff (two), task=drift."""
    run: Optional[str] = None
    """Run folder that task=bundle packs, or whose weights task=export writes (null: those of `weights`)."""
    format: Format = Format.diffusers
    """Of task=export: diffusers (a pipeline's folder), single_file (a checkpoint in the original layout), kohya or peft (the
    adapter alone)."""
    dtype: Dtype = Dtype.fp32
    """Of task=export: fp32, fp16 or bf16."""
    fused: Optional[bool] = None
    """Of task=export: true adds adapters to the weights they change, false leaves them in a file beside the base model's
    pipeline; null: true, where the format holds a model."""
    bundle: Optional[str] = None
    """Archive that task=rerun repeats."""
    images: int = 8
    """Pictures for task=generate with held-out captions, and pictures a batch holds at most."""
    seed: int = 0
    """Picture i of a generated set has seed + i."""
    batch_size: int = 20
    """Pictures that are denoised at once."""
    outputs: str = "${project:outputs}"
    """Folder of runs and of the store."""
    plan: bool = False
    """Say what the command would do - stages, sizes, downloads, memory, time - and do nothing of it."""
    debug: bool = False
    """Show tracebacks."""

    @property
    def weights_given(self) -> list[str]:
        """What `weights` names, as a list."""
        given = self.weights if isinstance(self.weights, list) else [] if self.weights is None else [self.weights]
        if any(not isinstance(name, str) or not name for name in given):
            raise ConfigError(
                f"weights={self.weights} is no path; type weights=<run folder or file>, or a list of them"
            )
        return given

    def validate(self, processes: int = 1) -> None:
        """Raise ConfigError for values that no run could use. The data folder is looked at only by tasks that read it."""
        for part in (self.model, self.strategy, self.scheduler, self.cfg, self.eval, self.sweeps):
            part.validate()
        self.training.validate(processes)
        self.charts.validate()
        known = sorted(path.stem for path in CONF.glob("scheduler/*.yaml"))
        named = [("charts.schedulers", name) for name in self.charts.schedulers]
        named += [("sweeps.reference", self.sweeps.reference)] if self.sweeps.reference is not None else []
        for key, name in named:
            if name not in known:
                raise unknown(f"{key}={name} is no scheduler", name, known)
        for scale in self.charts.guidance:
            replace(self.cfg, scale=scale).validate()
        for steps in self.charts.steps:
            replace(self.scheduler, steps=steps).validate()
        if not self.parts or len(set(self.parts)) < len(self.parts):
            raise ConfigError(
                f"parts={[part.value for part in self.parts]} is empty or repeats one; use some of: "
                f"{', '.join(part.value for part in Part)}"
            )
        self.clip.validate(processes if self.task is Task.clip else 1)
        self.serve.validate()
        if min(self.batch_size, self.images, self.images_per_prompt) < 1:
            raise ConfigError(
                f"batch_size={self.batch_size}, images={self.images} and images_per_prompt={self.images_per_prompt} must be "
                "positive; use e.g. batch_size=8"
            )
        refuse_weights(self.weights_given, self.weights_scale)
        storage = (self.sweeps.storage or "").replace("+psycopg", "")
        if self.track.enabled and storage == self.track.uri.replace("+psycopg", ""):
            raise ConfigError(
                "track.uri and sweeps.storage are one database, and MLflow and Optuna would overwrite each other's version in "
                "it; make a second one on the same server for sweeps.storage"
            )
        if self.launch.processes < 1:
            raise ConfigError(
                f"launch.processes={self.launch.processes} is not a positive number; use launch.processes=1"
            )


# Options by group and kind. Groups whose files all share one class have the kind of the group's own name.
SCHEMAS: dict[str, dict[str, type]] = {
    "dataset": {
        "coco": Coco,
        "flickr": Flickr,
        "folder": Folder,
        "hub": Hub,
        "labelled": LabelledImages,
        "scenes": Scenes,
        "shards": Shards,
    },
    "strategy": {
        "attn2_to_v": Attn2ToV,
        "attn2_kv": Attn2KV,
        "attn2": Attn2,
        "unet": UNet,
        "text_encoder": TextEncoder,
        "text_adapter": TextAdapter,
        "both": Both,
        "lora": Lora,
    },
    "model": {"model": Model},
    "scheduler": {"scheduler": Scheduler},
    "cfg": {"cfg": Guidance},
    "eval": {"eval": Evaluation},
    "sweeps": {"sweeps": Sweep},
}


def register() -> None:
    """Tell Hydra the schema, and OmegaConf the resolvers that make paths independent of the working folder."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for group, kinds in SCHEMAS.items():
        for kind, schema in kinds.items():
            store.store(group=group, name=f"schema_{kind}", node=schema)
    # With the project's root on Hydra's search path instead, `outputs/` would become a group and shadow the key.
    for path in sorted(SWEEPS.glob("*.yaml")):
        store.store(group="sweeps", name=path.stem, node=OmegaConf.load(path))
    register_resolvers()


def register_resolvers() -> None:
    """The `${...:}` words of our YAML files; done on import too, for processes that Hydra's launchers start."""
    resolvers: dict[str, Callable[..., str]] = {
        "project": lambda path="": str(HOME / path),
        "asset": lambda name: str(PACKAGE / "assets" / name),
        "options": _options,
        "name_of": lambda task: task.value if isinstance(task, Enum) else str(task),
        "mlruns_uri": lambda: f"sqlite:///{HOME / 'mlruns' / 'mlflow.db'}",
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)
    OmegaConf.register_new_resolver("run_id", lambda: secrets.token_hex(3), use_cache=True, replace=True)


def help_text() -> str:
    """What `--help` prints. Hydra would list every group by copying the whole schema some hundred times: three seconds."""
    values: Any = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"), resolve=False)
    template: str = values["hydra"]["help"]["template"]
    return template.replace("${options:}", _options()).replace("python run.py", COMMAND)


def _options() -> str:
    """Every option of every group with the first comment of its file, for --help."""
    groups = (path for path in sorted(CONF.glob("*/*.yaml")) if path.parent.name != "accelerate")  # no option of ours
    files = [*groups, *sorted(SWEEPS.glob("*.yaml"))]
    width = max(len(path.stem) for path in files)
    lines, group = [], ""
    for path in files:
        if path.parent.name != group:
            group = path.parent.name
            lines.append(f"{group}=")
        comments = [line[2:] for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
        meaning = next((line for line in comments if not line.startswith("@")), "")
        lines.append(f"  {path.stem:<{width}} {meaning}")
    return "\n".join(lines)


def typed(config: DictConfig) -> Config:
    """The composed configuration as objects; ConfigError where a value has the wrong type or is missing."""
    try:
        result = OmegaConf.to_object(config)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} is not set; give it a value: {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'the configuration'}: {str(error).splitlines()[0]}") from error
    assert isinstance(result, Config)
    _refuse_extra(result)
    return result


def _refuse_extra(level: Any, prefix: str = "") -> None:
    """Hydra lets `+key=value` add what no dataclass has: nothing would read it."""
    names = sorted(field.name for field in fields(level))
    for name, value in vars(level).items():
        if name not in names and not name.startswith("_"):
            raise unknown(f"{prefix}{name} is no key of the configuration", name, names, prefix)
        if is_dataclass(value):
            _refuse_extra(value, f"{prefix}{name}.")


def compose(overrides: Sequence[str]) -> Config:
    """The configuration that `python run.py <overrides>` would have."""
    return typed(_compose(overrides))


def _compose(overrides: Sequence[str]) -> DictConfig:
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    register()
    if GlobalHydra.instance().is_initialized():
        return hydra.compose("config", overrides=list(overrides))
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", overrides=list(overrides))


def composed(config: Config, changes: Mapping[str, Any], overrides: Sequence[str]) -> Config:
    """`config` with other options of groups and other values of keys, as if they had been typed after `overrides`.

    overrides: those that made `config`; an option of a group brings its own values, and what was typed for single keys of
    the group holds over them. Values stay what they are: nothing of them becomes text. Raises ConfigError, or an error of
    Hydra and OmegaConf, for what could not be typed either.
    """
    base = _structured(as_dict(config))
    groups = {key: value for key, value in changes.items() if key in SCHEMAS}
    for group, option in groups.items():
        if not isinstance(option, str):
            hint = "; YAML reads on, off, yes and no as true and false: write them in quotes" * isinstance(option, bool)
            raise ConfigError(f"{group}={option!r} names no option of the group {group}{hint}")
    if groups:
        chosen = _compose([*overrides, *(f"{group}={option}" for group, option in groups.items())])
        for group in groups:
            base[group] = chosen[group]
    OmegaConf.set_struct(base, True)
    for key, value in changes.items():
        if key not in groups:
            OmegaConf.update(base, key.lstrip("+"), _literal(value), merge=True, force_add=key.startswith("+"))
    return typed(base)


def as_override(key: str, value: Any) -> str:
    """`key=value` as one types it to Hydra, before a shell has its say: null, and texts with commas in quotes."""
    return f"{key}={spelt(value)}"


def spelt(value: Any) -> str:
    """A value as one types it to Hydra."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{spelt(name)}:{spelt(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(spelt, value)) + "]"
    text = value.value if isinstance(value, Enum) else str(value)
    plain = re.fullmatch(r"[\w./:@%+-]+", text) and not re.fullmatch(
        r"(?i)null|true|false|[+-]?(nan|inf|\.?\d.*)", text
    )
    if plain or isinstance(value, int | float):
        return str(text)
    # Hydra reads a backslash as such, unless it stands before a quote.
    return "'" + re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + "\\'" * len(found[2]), text) + "'"


def as_dict(value: Any) -> Any:
    """Dataclasses, enums and containers as plain JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_dict(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: as_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_dict(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def restore(values: Mapping[str, Any]) -> Config:
    """The inverse of `as_dict`: what a worker receives from the process that composed the configuration."""
    return typed(_structured(values))


def _structured(values: Mapping[str, Any]) -> DictConfig:
    base = OmegaConf.structured(Config)
    for group, kinds in SCHEMAS.items():
        schema = kinds[values[group]["kind"]] if len(kinds) > 1 else kinds[group]
        base[group] = OmegaConf.structured(schema)
    merged = OmegaConf.merge(base, OmegaConf.create(_literal(dict(values))))
    assert isinstance(merged, DictConfig)
    return merged


def _literal(value: Any) -> Any:
    """Values whose texts OmegaConf takes as they are, without looking for its ${...} in them."""
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_literal(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def strategy_from(values: Mapping[str, Any]) -> Strategy:
    """The strategy that tuned weights were trained with, from what is written beside them."""
    schema = SCHEMAS["strategy"][values["kind"]]
    strategy = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.create(dict(values))))
    assert isinstance(strategy, Strategy)
    return strategy


register_resolvers()
