"""Where a model's files are and what identifies them; light, so that a run that reuses everything loads no network."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t2i.errors import ConfigError, UserError
from t2i.models.adapters.kinds import whole
from t2i.models.config import Init, Model
from t2i.models.families.family import Family
from t2i.models.families.registry import DEFAULT, FAMILIES, family_by
from t2i.models.files import weight_files
from t2i.models.pickles import SUFFIXES, refusal
from t2i.models.safetensors_file import header_of
from t2i.store import Store, digest_of

ARCHITECTURES = Path(__file__).parent / "architectures"
ASSETS = Path(__file__).parent.parent / "assets"
BUNDLED = ASSETS / "tiny"
VOCABULARY = ASSETS / "clip_vocabulary"
"""The tokenizer of every Stable Diffusion 1.x, 2.x and XL."""
WORDS = 49408
"""In it."""
INDEX = "model_index.json"
CLASS = "_class_name"
"""In the index of a pipeline's folder, and of an architecture: the class of diffusers that tells the family."""
SCHEDULER = "t2i.scheduler"
"""In the metadata of a single file that we wrote: its noise schedule, as JSON."""


def family(config: Model) -> Family:
    """The family of the configured model: by its folder's index, by the shapes of a single file, or by its architecture.

    Raises ConfigError for a pipeline of no known family, UserError when the model is not on this machine.
    """
    if config.init is Init.random or is_file(config):
        return family_of_settings(settings(config))
    return without(family_in(locate(config, [INDEX, *_patterns("tokenizers", "/*")])), config.without)


def without(family: Family, left_out: Sequence[str]) -> Family:
    """The family of its models that lack these networks; ConfigError where it cannot do without one."""
    can = [name for name in family.networks if name not in family.of({*family.networks} - {name}).networks]
    for name in left_out:
        if name not in can:
            hint = f"it can do without: {', '.join(can)}" if can else "use model.without=[]"
            raise ConfigError(f"model.without=[{name}] is no part that {family.title} can do without; {hint}")
    return family.of({*family.networks} - {*left_out})


def _lessened(parts: dict[str, Any], config: Model) -> dict[str, Any]:
    """Settings without those of the networks that are left out."""
    if config.without:
        without(family_of_settings(parts), config.without)
    return {name: values for name, values in parts.items() if name not in config.without}


def _left_out(config: Model) -> list[str]:
    """The folders of those networks and of their tokenizers."""
    return [name for one in config.without for name in (one, one.replace("text_encoder", "tokenizer"))]


def family_in(folder: Path) -> Family:
    """The family of a pipeline's folder; ConfigError when its index cannot be read. An architecture's may lack one."""
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        named = index.get(CLASS) if isinstance(index, dict) else index
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); copy the model again") from error
    if not isinstance(named, str | None):
        raise ConfigError(f"{path} names no class of diffusers but {str(named)[:50]}; copy the model again")
    family = family_by(named, f"the model in {folder}")
    # [null, null] stands for a part that is left out
    parts = [name for name, kind in index.items() if isinstance(kind, list) and any(kind)]
    return family.of(parts or family.networks)


def family_of_settings(parts: dict[str, Any]) -> Family:
    """The family of what `settings` and `architecture` give."""
    return family_by(parts.get(CLASS), "the architecture").of(parts)


def options(family: Family, parts: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the pipeline itself, of what `settings` gives."""
    return {name: parts.get(name, usual) for name, usual in family.options.items()}


def _patterns(kind: str, end: str) -> list[str]:
    """Patterns of the folders of any family."""
    names = [name for family in FAMILIES.values() for name in getattr(family, kind)]
    return [f"{name}{end}" for name in dict.fromkeys(names)]


def architecture(config: Model) -> dict[str, Any]:
    """The settings of every part (by the names of its family's networks, and scheduler) that `model.architecture` names."""
    name = str(config.architecture)
    if (folder := Path(name).expanduser()).is_dir():
        return read_settings(folder, config.without)
    path = ARCHITECTURES / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in ARCHITECTURES.glob("*.json")))
        raise ConfigError(
            f"model.architecture={name} is unknown; use one of: {known}; or give a folder in diffusers' pipeline layout"
        )
    parts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return _lessened(parts, config)


def read_settings(folder: Path, left_out: Sequence[str] = ()) -> dict[str, Any]:
    """As `architecture`, from a pipeline's folder. left_out: networks of which nothing is read."""
    family = without(family_in(folder), left_out)
    files = {name: folder / name / "config.json" for name in family.networks}
    files["scheduler"] = folder / "scheduler" / "scheduler_config.json"
    try:
        read = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items()}
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} lacks the settings of a part ({error}); copy the pipeline again") from error
    parts = {name: {key: v for key, v in values.items() if not key.startswith("_")} for name, values in read.items()}
    if family is DEFAULT:
        return parts
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return parts | {CLASS: family.pipelines[0], **options(family, index)}


def settings(config: Model) -> dict[str, Any]:
    """The settings of every part of the configured model, from its files; UserError when they are not on this machine."""
    if config.init is Init.random:
        return architecture(config)
    path = locate(config)
    return _lessened(candidate(config, path)[0], config) if path.is_file() else read_settings(path, config.without)


def tokenizer(config: Model) -> Path:
    """The folder of the model's tokenizer."""
    if config.init is Init.random:
        return BUNDLED / "tokenizer"
    if is_file(config):
        return candidate(config, locate(config))[1]
    return locate(config, [INDEX, *_patterns("tokenizers", "/*")]) / "tokenizer"


def tokenizer_here(config: Model) -> bool:
    """Whether the model's tokenizer can be read without asking the hub."""
    if config.init is Init.random or is_file(config) or Path(config.source).expanduser().is_dir():
        return True
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(config.source, "tokenizer/vocab.json", revision=config.revision)
    return isinstance(found, str)


def is_file(config: Model) -> bool:
    """Whether the model is a single-file checkpoint."""
    path = Path(config.source).expanduser()
    return path.is_file() or path.suffix in {".safetensors", *SUFFIXES}


def candidate(config: Model, path: Path) -> tuple[dict[str, Any], Path]:
    """Settings of every part and the tokenizer's folder that fit a single-file checkpoint, by its shapes.

    Tried are what `model.architecture` names and everything bundled. Raises ConfigError, saying what the file seems to
    be, when none fits.
    """
    header = header_of(path)
    own = [config.architecture] if config.architecture else []
    every = [*own, *sorted(file.stem for file in ARCHITECTURES.glob("*.json")), str(BUNDLED)]
    tried = {name: architecture(Model(architecture=name)) for name in every}
    tried = {
        name: parts for name, parts in tried.items() if family_of_settings(parts).prefixes(parts)
    }  # has such files
    for name, parts in tried.items():
        folder = Path(name).expanduser()
        if family_of_settings(parts).fits(parts, header):
            if SCHEDULER in header.metadata:
                parts["scheduler"] = json.loads(header.metadata[SCHEDULER])
            elif "v_pred" in header.shapes:  # as trainers mark it
                parts["scheduler"] |= {"prediction_type": "v_prediction"}
                if "ztsnr" in header.shapes:
                    parts["scheduler"] |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
            return parts, _words(folder, parts)
    what = whole(header.shapes)
    seems = (
        f"a checkpoint of {what}" if what else "no checkpoint in the original layout (it has no model.diffusion_model)"
    )
    raise ConfigError(
        f"model.source={path} seems to be {seems}, and fits none of: {', '.join(Path(name).name for name in tried)}; give "
        "one of them, or model.architecture=<folder in diffusers' layout> with settings of its shapes"
    )


def _words(folder: Path, parts: dict[str, Any]) -> Path:
    """The tokenizer beside the settings, or the bundled one of so many words."""
    if (folder / "tokenizer").is_dir():
        return folder / "tokenizer"
    return VOCABULARY if parts["text_encoder"]["vocab_size"] == WORDS else BUNDLED / "tokenizer"


REWRITTEN = {"769232093108d607c1155f32590a3241": "db53038e817eb2397bc37d23109cb65e"}
"""The bundled model has been written in another layout, the same tensors: what was made with it before is still found."""


def digest(config: Model, store: Store, seed: int = 0) -> str:
    """What identifies the base model: its files' bytes, or its architecture and seed."""
    if config.init is Init.random:
        return digest_of({"random": architecture(config), "seed": seed})[:32]
    folder = locate(config)
    if folder.is_file():
        parts, words = candidate(config, folder)
        files = [folder, *sorted(path for path in words.iterdir() if path.suffix in {".json", ".txt"})]
        return digest_of({"single_file": store.file_digests(files), "settings": parts})[:32]
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".json", ".safetensors", ".txt"})
    files = [path for path in files if path.relative_to(folder).parts[0] not in _left_out(config)]
    names = [str(path.relative_to(folder)) for path in files]
    found = digest_of(dict(zip(names, store.file_digests(files), strict=True)))[:32]
    return REWRITTEN.get(found, found)


WANTED = [INDEX, "scheduler/*", *_patterns("tokenizers", "/*")] + [
    pattern
    for name in ("config.json", "*model.safetensors", "*model-*-of-*.safetensors", "*model.safetensors.index.json")
    for pattern in _patterns("networks", f"/{name}")
]
"""The files of a pipeline that are read."""
VARIANT = _patterns("networks", "/*.fp16*")
"""Fetched from a hub repository that has no others."""


def locate(config: Model, wanted: Sequence[str] = WANTED) -> Path:
    """The folder with the pipeline, or the single-file checkpoint: given, or fetched from the hub (only the files `wanted`,
    by pattern).
    """
    path = Path(config.source).expanduser()
    if path.is_dir():
        return _pipeline(path, wanted, config)
    if is_file(config):
        if path.suffix in SUFFIXES and path.exists():
            raise ConfigError(f"model.source={refusal(path)}")
        if not path.exists():
            raise ConfigError(f"model.source={path} does not exist; give a single-file checkpoint in safetensors")
        if path.suffix != ".safetensors":
            raise ConfigError(
                f"model.source={path} is no .safetensors file; give a single-file checkpoint, a folder in diffusers' pipeline "
                "layout, or a hub id"
            )
        return path
    if path.is_absolute() or config.source.startswith(("~", ".")):
        raise ConfigError(
            f"model.source={path} does not exist; give a folder in diffusers' pipeline layout, a single-file .safetensors "
            "checkpoint or a hub id"
        )
    return _fetch(config, wanted)


def _pipeline(folder: Path, wanted: Sequence[str], config: Model) -> Path:
    if not (folder / INDEX).exists():
        single = sorted(folder.glob("*.safetensors"))
        hint = f"; or name a file in it, e.g. model.source={single[0]}" if single else ""
        raise ConfigError(
            f"model.source={folder} has no model_index.json; give a folder in diffusers' pipeline layout or a hub id{hint}"
        )
    if wanted is WANTED:
        for part in without(family_in(folder), config.without).networks:
            if (folder / part).is_dir():
                weight_files(folder / part)
    return folder


def _fetch(config: Model, wanted: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    def fetch(wanted: Sequence[str]) -> Path:
        unwanted = [f"{name}/*" for name in _left_out(config)]
        return Path(
            snapshot_download(
                config.source, revision=config.revision, allow_patterns=list(wanted), ignore_patterns=unwanted or None
            )
        )

    try:
        folder = fetch(wanted)
        denoiser = family_in(folder).denoiser
        if wanted is WANTED and not list(folder.glob(f"{denoiser}/*.safetensors")):
            folder = fetch([*wanted, *VARIANT])
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"model.source={config.source} could not be fetched from the hub ({type(error).__name__}) and is not in its local "
            "cache; give a folder with model.source=<folder>, or use model.init=random for benchmarks"
        ) from error
    return folder
