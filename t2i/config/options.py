"""Every option of every group, told to Hydra. The only module that names them all."""

import secrets
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from t2i.config.schema import CONF, SWEEPS, Config
from t2i.data.sources.coco import Coco
from t2i.data.sources.flickr import Flickr
from t2i.data.sources.folder import Folder
from t2i.data.sources.hub import Hub
from t2i.data.sources.labelled import LabelledImages
from t2i.data.sources.scenes_dataset import Scenes
from t2i.data.sources.sharded import Shards
from t2i.data.sources.subject import Subject
from t2i.evaluation.config import Evaluation
from t2i.models.config import Model
from t2i.places import COMMAND, HOME, PACKAGE
from t2i.sampling.config import Guidance, Scheduler
from t2i.sweeps.config import Sweep
from t2i.training.attention import Attn2, Attn2KV, Attn2ToV, AttnAddV
from t2i.training.inversion import Pivotal, TextualInversion
from t2i.training.lora import Lora
from t2i.training.strategies import Both, TextEncoder, UNet
from t2i.training.text_adapter import TextAdapter

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
        "subject": Subject,
    },
    "strategy": {
        "attn2_to_v": Attn2ToV,
        "attn2_kv": Attn2KV,
        "attn_add_v": AttnAddV,
        "attn2": Attn2,
        "unet": UNet,
        "text_encoder": TextEncoder,
        "text_adapter": TextAdapter,
        "both": Both,
        "lora": Lora,
        "pivotal": Pivotal,
        "textual_inversion": TextualInversion,
    },
    "model": {"model": Model},
    "scheduler": {"scheduler": Scheduler},
    "cfg": {"cfg": Guidance},
    "eval": {"eval": Evaluation},
    "sweeps": {"sweeps": Sweep},
}


@cache
def register() -> None:
    """Tell Hydra the schema, and OmegaConf the resolvers that make paths independent of the working folder; once a process."""
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


register_resolvers()
