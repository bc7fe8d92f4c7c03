"""The schema of the configuration: what one run is told, and the tasks.

Hydra composes YAML files onto these dataclasses, so a misspelt key or value fails before anything is loaded.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from omegaconf import MISSING

from t2i.config.fitting import refuse, refuse_drawing, refuse_format, refuse_weights
from t2i.config.words import Dtype, Format, Part, Precision, Task, Then
from t2i.data.base import Dataset
from t2i.errors import ConfigError, unknown
from t2i.evaluation.config import NONE, Evaluation
from t2i.models.config import Model
from t2i.places import CONFIGURATION
from t2i.reporting.config import Charts
from t2i.sampling.config import Guidance, Sampling, Scheduler, shipped
from t2i.sampling.engine import refuse as refuse_engine
from t2i.sweeps.config import Sweep
from t2i.tracking import Tracking
from t2i.training.config import Training
from t2i.training.contrastive.config import ClipTuning
from t2i.training.fitting import refuse_prior, refuse_shards
from t2i.training.strategies import Strategy
from t2i.upkeep import Upkeep
from t2i.web.config import Serve

CONF = CONFIGURATION / "conf"
SWEEPS = CONFIGURATION / "sweeps"


@dataclass
class Launch:
    """On how many devices, and in which precision."""

    processes: int = 1
    """Processes of one run, one per GPU. More than one: the run is started again in each of them."""
    mixed_precision: Optional[Precision] = None
    """no, fp16 or bf16; null: what `accelerate launch` was given, otherwise no."""
    shard: bool = False
    """Spread parameters, gradients and the optimizer's state of a whole network that trains (strategy=unet, both) over the
    processes (FSDP), for models that do not fit into one GPU; false: each process has all of them (DDP)."""

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
    elsewhere: Optional[str] = None
    """Option of the group dataset, e.g. scenes, on whose held-out captions task=pipeline compares both models too: what the
    tuning cost where it was not asked for."""
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
    image: Optional[str] = None
    """A picture that task=generate begins from, in place of noise alone. Its largest middle part of the drawn shape is taken."""
    strength: Optional[float] = None
    """How much of `image` is drawn anew: the share of the steps that are taken, above 0 to 1; null: 0.75."""
    mask: Optional[str] = None
    """A picture whose white part says where `image` is drawn anew; the rest of it stays. null: everywhere."""
    recipe: Optional[str] = None
    """A PNG that t2i made (or the JSON beside it), which task=generate makes again."""
    runs: list[str] = field(default_factory=list)
    """Run folders for task=report (empty: the newest pipeline run), task=compare (the first, and one or more to hold against it),
    diff (two), task=drift."""
    pictures: Any = None
    """Folders of pictures, whoever made them: one for task=evaluate, two or more for task=compare, [a,b]. What they are held
    against is eval.reference; captions come from captions.json, .csv or .txt, files beside them, or from inside of PNGs."""
    run: Optional[str] = None
    """Run folder that task=bundle packs, whose weights task=export writes (null: those of `weights`), or whose checkpoints
    task=curve measures."""
    format: Format = Format.diffusers
    """Of task=export: diffusers (a pipeline's folder), single_file (a checkpoint in the original layout), kohya or peft (the
    adapter alone), weights (the tensors alone that a run trained)."""
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
    def pictures_given(self) -> list[str]:
        """What `pictures` names, as a list."""
        given = self.pictures if isinstance(self.pictures, list) else [] if self.pictures is None else [self.pictures]
        if any(not isinstance(name, str) or not name for name in given):
            raise ConfigError(f"pictures={self.pictures} is no path; type pictures=<folder>, or a list of them: [a,b]")
        return given

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
        # Before a package is asked for that such a family would not read.
        refuse_drawing(self.model, self.image is not None, self.mask is not None, self.cfg.prompt_weights)
        if self.task is Task.export:
            refuse_format(self.model, self.format.value)
        for part in (self.model, self.strategy, self.scheduler, self.cfg, self.eval, self.sweeps):
            part.validate()
        self.training.validate(processes)
        refuse_engine(self.sampling, self.launch.precision, max(processes, self.launch.processes))
        if self.launch.shard and self.task in (Task.train, Task.pipeline, Task.sweep, Task.doctor):
            refuse_shards(self.training, self.strategy, self.launch.precision)
        self.charts.validate()
        known = sorted(shipped())
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
        for key in ("batch_size", "images", "images_per_prompt"):
            if (count := getattr(self, key)) < 1:
                raise ConfigError(f"{key}={count} is not a positive number; use e.g. {key}=8")
        refuse_weights(self.model, self.weights_given, self.weights_scale)
        self._refuse_pictures()
        self._refuse_beginning()
        storage = (self.sweeps.storage or "").replace("+psycopg", "")
        if self.track.enabled and storage == self.track.uri.replace("+psycopg", ""):
            raise ConfigError(
                "track.uri and sweeps.storage are one database, and MLflow and Optuna would overwrite each other's version in "
                "it; make a second one on the same server for sweeps.storage"
            )
        trains = self.task in (Task.pipeline, Task.train)
        if trains or self.task is Task.sweep:
            refuse_prior(self.training, self.strategy, self.dataset)
        also = {name: scheduler for name, scheduler in shipped().items() if name in self.charts.schedulers}
        attaches = trains or self.task is Task.verify
        refuse(
            self.model,
            [self.scheduler, *also.values()],
            self.training if trains else None,
            self.strategy if attaches else None,
        )
        if self.launch.processes < 1:
            raise ConfigError(
                f"launch.processes={self.launch.processes} is not a positive number; use launch.processes=1"
            )

    def _refuse_beginning(self) -> None:
        """Raise ConfigError for a strength or a mask without a picture, and a strength that is none."""
        for key, value in (("strength", self.strength), ("mask", self.mask)):
            if value is not None and self.image is None:
                raise ConfigError(
                    f"{key}={value} says how a picture is drawn anew, and none is given; type image=<picture>"
                )
        if self.strength is not None and not 0 < self.strength <= 1:
            raise ConfigError(f"strength={self.strength} is not above 0 and up to 1; use e.g. strength=0.75")

    def _refuse_pictures(self) -> None:
        """Raise ConfigError for `pictures`, and an evaluation without reference, where nothing reads them."""
        least = {Task.evaluate: 1, Task.compare: 2}.get(self.task)
        if given := self.pictures_given:
            if least is None:
                raise ConfigError(
                    f"task={self.task.value} draws its own pictures and reads none; type task=evaluate pictures=<folder>, or "
                    "task=compare pictures=[<folder>,<folder>]"
                )
            if len(given) < least or (self.task is Task.evaluate and len(given) > 1):
                raise ConfigError(
                    f"pictures holds {len(given)} and task={self.task.value} takes {least}"
                    f"{' or more' if least > 1 else ''}; type pictures={'[<folder>,<folder>]' if least > 1 else '<folder>'}"
                )
            for name in given:
                if not Path(name).expanduser().is_dir():
                    what = "is a file" if Path(name).expanduser().exists() else "does not exist"
                    raise ConfigError(f"pictures={name} {what}; give a folder of pictures")
        elif self.eval.reference == NONE:
            raise ConfigError("eval.reference=none goes with pictures=<folder>: pictures drawn here have a reference")
