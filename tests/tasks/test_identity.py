"""Every key of the configuration: what hangs on it is known by it, in the store, in a run's memory, and in a sweep."""

import contextlib
import functools
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from t2i import identity
from t2i.config import SCHEMAS, Config, Part, Precision, Task, as_dict, as_override, compose
from t2i.context import Run
from t2i.data.sources import scenes
from t2i.data.sources.folder import Folder
from t2i.errors import ConfigError, UserError
from t2i.evaluation.config import JUDGES
from t2i.models.clip_files import TINY_CLIP
from t2i.models.source import BUNDLED
from t2i.plan.plan import plan
from t2i.randomness import generator
from t2i.stages.clip_features import OfFolder
from t2i.stages.metrics import Metrics
from t2i.stages.stage import made, walk
from t2i.stages.training import Trained, Training
from t2i.stages.weights import Given
from t2i.store import Stage, Store, addressed
from t2i.sweeps.cells import Identities, cell_config, require_read
from t2i.tasks import goals
from t2i.training.config import Prior

from ..conftest import SCENES, SWEEP, TOY, Ended, Lab
from ..evaluation import toy_judges
from ..leaves import changed, leaves, other

KEYS = [key for key, _ in leaves(compose([])) if identity.top(key) not in ("sweeps", "weights_scale")]
"""Scales mean nothing without weights: `test_scales_of_weights_are_part_of_them`."""
OF_STRATEGIES = [
    (kind, key)
    for kind in SCHEMAS["strategy"]
    for key, _ in leaves(compose([f"strategy={kind}"]))
    if key.startswith("strategy.") and key != "strategy.kind"
]
OF_OTHER_DATA = {
    "dataset.kaggle": "a download, known by the bytes that it brings",
    "dataset.karpathy": "the splits of COCO: tests/data/sources/test_coco.py",
    "dataset.caption": "of pictures without one, known by their captions: tests/data/sources/test_layouts.py",
    "dataset.links": "which links are followed; pictures are known by their bytes: tests/data/sources/test_layouts.py",
    "dataset.subset": "which pictures, known by their ids: tests/data/preparation/test_merged.py",
}
"""Keys that the data here have no files for."""
READS = {Part.charts: ("charts",), Part.clip: ("clip",)}
"""What only one part of a pipeline reads."""
OF_A_PRIOR = ("training.prior_weight", "training.prior_share", "training.prior_images")
"""Which nothing reads without training.prior."""
BEGUN = ("image", "mask", "strength")
"""What a picture is drawn from."""
ASKED = ("prompts", "prompts_file", "wildcards", "images", "images_per_prompt")
"""What task=generate reads."""


@pytest.fixture(scope="module")
def base(lab: Lab, main_job: Ended) -> Config:
    """The configuration whose results are in the store."""
    return compose([*SCENES, *TOY, *SWEEP, *lab.places(False)])


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, tuned_run: Path, lab: Lab, main_job: Ended) -> dict[str, Any]:
    """Values that have to be there: files and folders."""
    root = tmp_path_factory.mktemp("places")
    other_model = root / "model"
    shutil.copytree(BUNDLED, other_model)
    (other_model / "tokenizer" / "added.txt").write_text("a file more")
    (root / "words").mkdir()
    (root / "words" / "colour.txt").write_text("red\nblue\n")
    scenes.write(root / "world", 9, {"train": 24, "val": 12}, 64, False)
    shutil.copytree(TINY_CLIP, root / "clip")
    with open(root / "clip" / "model.safetensors", "ab") as file:
        file.write(b" ")
    (root / "prompts.txt").write_text("a red bus\n")
    Image.fromarray(np.full((64, 64, 3), 255, np.uint8)).save(root / "white.png")
    return {
        "image": str(root / "white.png"),
        "mask": str(root / "white.png"),
        "model.source": str(other_model),
        "prompts_file": str(root / "prompts.txt"),
        "wildcards": str(root / "words"),
        "weights": str(tuned_run),
        "dataset.root": str(root / "world"),
        "eval.clip": str(root / "clip"),
        "outputs": str(root / "outputs"),
        "eval.reference": str(next(lab.root.glob("store/reference/*/reference.npz"))),
        **{key: str(second) for key, (_, second) in toy_judges_by_key().items()},
    }


@functools.cache
def pictures() -> Path:
    """Captioned pictures without domains."""
    root = Path(tempfile.mkdtemp())
    for number in range(12):
        Image.fromarray(generator("a picture", number).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(
            root / f"{number:02d}.png"
        )
        (root / f"{number:02d}.txt").write_text(f"a cat number {number}")
    (root / "colour.txt").write_text("green\n")  # wildcards too
    return root


@functools.cache
def toy_judges_by_key() -> dict[str, tuple[Path, Path]]:
    """Two judges for each key of `eval` that names one."""
    root = Path(tempfile.mkdtemp())
    return {
        "eval.pickscore": (toy_judges.clip(root / "pick"), toy_judges.clip(root / "other" / "pick", seed=1)),
        "eval.hpsv2": (toy_judges.hpsv2(root / "hps.pt"), toy_judges.hpsv2(root / "other" / "hps.pt", seed=1)),
        "eval.vlm": (toy_judges.qwen(root / "vlm"), toy_judges.blip(root / "other" / "vlm")),
    }


def asking(config: Config, key: str) -> Config:
    """The question whose answer hangs on a key."""
    if key == "dataset.keywords":  # for data that name no domains themselves
        return replace(config, dataset=Folder(name="folder", root=str(pictures()), resolution=64), parts=[Part.data])
    if key.startswith("training.prior") or key == "dataset.regularisation":
        own = replace(config.training, prior=None if key == "training.prior" else Prior.pictures)
        config = replace(config, training=own, dataset=replace(config.dataset, regularisation=["a cat", "a bus"]))
    if key == "model.init":  # a network without weights is built from its architecture
        config = replace(config, model=replace(config.model, architecture="sd1"))
    if identity.top(key) in ("scheduler", "cfg", "eval", "sampling", "batch_size"):  # what training has no part in
        own = str(next(Path(config.outputs).glob("store/training/*/weights")))
        parts = [Part.compare] if key == "eval.extractor" else [Part.embed, Part.compare]
        config = replace(config, weights=own, parts=parts)
        if key in toy_judges_by_key():
            metric = next(name for name, keys in JUDGES.items() if key.removeprefix("eval.") in keys)
            own = {key.removeprefix("eval."): str(toy_judges_by_key()[key][0])}
            return replace(config, parts=[Part.compare], eval=replace(config.eval, metrics=[metric], **own))
        if key != "eval.clip":
            return config
    if key == "eval.clip":
        config = replace(config, eval=replace(config.eval, extractor="clip", clip=str(TINY_CLIP)))
    if key == "weights":
        return replace(config, task=Task.evaluate)
    if key in BEGUN:
        given = {} if key == "image" else {"image": str(pictures() / "00.png")}
        return replace(config, task=Task.generate, prompts=["a cat"], **given)
    if key in ASKED:
        words = {"prompts": ["a __colour__ car"], "wildcards": str(pictures())} if key == "wildcards" else {}
        return replace(config, task=Task.generate, **words)
    part = next((part for part, tops in READS.items() if identity.top(key) in tops), None)
    parts = [part] if part else [Part.data, Part.embed, Part.verify, Part.train, Part.compare]
    settings = replace(config.charts, guidance=[5.0, 7.5]) if part is Part.charts else config.charts
    return replace(config, parts=parts, charts=settings)


def addresses(config: Config, root: Path) -> set[tuple[str, str]]:
    """Name and digest of every stage that a run would look for, as far as they are known before it."""
    rows = plan(config, root / "nowhere", [], lambda line: None, goals).rows
    return {(row.name, row.digest) for row in rows if row.digest}


@pytest.fixture(scope="module")
def at_base(lab: Lab, base: Config) -> Callable[[str], set[tuple[str, str]]]:
    known: dict[str, set[tuple[str, str]]] = {}

    def found(key: str) -> set[tuple[str, str]]:
        config = asking(base, key)
        place = repr(config)
        if place not in known:
            known[place] = addresses(config, lab.root)
        return known[place]

    return found


def test_scales_of_weights_are_part_of_them(base: Config, tuned_run: Path) -> None:
    """Half of an adapter is another model: in what a cell is known by."""
    whole, half = (replace(base, weights=str(tuned_run), weights_scale=scale) for scale in ([], [0.5]))
    assert identity.cell(whole, False) != identity.cell(half, False)


@pytest.mark.parametrize("key", [*OF_A_PRIOR, "dataset.regularisation"])
def test_what_a_prior_is_told_is_part_of_a_cell_that_has_one(base: Config, key: str) -> None:
    own = asking(base, key)
    value = other(key, dict(leaves(own))[key])
    assert identity.cell(changed(own, key, value), True) != identity.cell(own, True)


def no_result(key: str) -> bool:
    return key in identity.NO_RESULT or identity.top(key) in identity.NO_RESULT


@pytest.mark.parametrize("key", [key for key in KEYS if key not in OF_OTHER_DATA and key != "clip.images"])
def test_another_value_is_another_address_or_the_key_is_listed(
    key: str, lab: Lab, base: Config, at_base: Callable[[str], set[tuple[str, str]]], places: dict[str, Any]
) -> None:
    """And no listed key changes one: the list is right both ways."""
    value = places.get(key, other(key, dict(leaves(base))[key]))
    config = changed(asking(base, key), key, value)
    if key == "outputs":  # there is nothing there yet
        assert no_result(key)
        return
    if identity.top(key) in identity.NO_RESULT and key != next(k for k in KEYS if identity.top(k) == identity.top(key)):
        return  # one of a group that as a whole decides no result
    if no_result(key):
        kept = replace(config, task=base.task, parts=asking(base, key).parts, plan=False, elsewhere=base.elsewhere)
        assert addresses(kept, lab.root) == at_base(key)
        return
    if key == "dataset.kind":  # which the option of the group has set
        with pytest.raises(ConfigError, match="leave it at scenes"):
            addresses(config, lab.root)
        return
    new = addresses(config, lab.root) - at_base(key)
    assert new, f"{key}={value} changes no address and is not in identity.NO_RESULT"


@pytest.mark.parametrize(("kind", "key"), OF_STRATEGIES)
def test_another_value_of_any_strategy_is_another_training(kind: str, key: str, base: Config) -> None:
    from t2i.models.clip_files import TINY_CLIP

    config = compose([f"strategy={kind}"])
    one = replace(base, strategy=config.strategy)
    value = str(TINY_CLIP) if key == "strategy.clip" else other(key, dict(leaves(one))[key])
    assert identity.trained(changed(one, key, value)) != identity.trained(one)


def test_the_pictures_that_a_clip_is_measured_on_are_part_of_its_features(lab: Lab, base: Config) -> None:
    """No plan knows them before the tuning, without which there is nothing to measure."""
    found = []
    for images in (None, 5):
        run = fresh(lab, [])
        with contextlib.suppress(FileNotFoundError):
            OfFolder(replace(base, clip=replace(base.clip, images=images)), TINY_CLIP).read(run)
        found += run.store.found  # type: ignore[attr-defined]
    assert [name for name, _ in found] == ["clip_features"] * 2 and found[0] != found[1]


def test_every_listed_key_is_one() -> None:
    known = {key for key, _ in leaves(compose([]))}
    tops = {identity.top(key) for key in known}
    assert [key for key in identity.NO_RESULT if key not in known | tops] == []
    assert [key for key in identity.OF_A_CELL if key not in tops] == []


# -- a cell of a sweep is a run of its own ---------------------------------------------------------------------------------


class Recording(Store):
    """Remembers what it is asked for, makes data, and nothing else."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.found: list[tuple[str, str]] = []

    def stage(
        self,
        name: str,
        inputs: Mapping[str, str],
        config: Mapping[str, Any],
        version: int,
        build: Callable[[Path], None],
        collective: bool = False,
        resumable: bool = False,
    ) -> Stage:
        digest = addressed(name, inputs, config, version)[1]
        self.found.append((name, digest))
        if name in ("scenes", "prepared"):  # known by the inputs of the others; looked for once a run
            self.found.pop()
            return super().stage(name, inputs, config, version, build, collective, resumable)
        return Stage(name, digest, self.root / name / digest, True)


def asked(config: Config, run: Run, trains: bool) -> list[tuple[str, str]] | str:
    """The stages behind the numbers of a configuration; what is wrong with one that no run could have."""
    found: list[tuple[str, str]] = []
    try:
        config.validate()
        for stage in walk(Metrics(config, Trained(Training(config)) if trains else Given(config))):
            found.append((stage.name, made(stage, run).digest))
    except UserError as error:
        return str(error)
    except FileNotFoundError:
        pass  # of a stage that is still to be made
    return found


def refusal(config: Config, run: Run) -> str:
    try:
        require_read(config, run)
    except ConfigError as error:
        return str(error)
    return ""


def fresh(lab: Lab, overrides: list[str]) -> Run:
    return Run(lab.root / "nowhere", Recording(lab.root / "store"), overrides=overrides)


@pytest.fixture(scope="module")
def sweeping(lab: Lab, base: Config) -> Run:
    """One run for all cells, so that each finds what others have left in its memory."""
    return fresh(lab, [*SCENES, *TOY, *lab.places(False)])


GROUPS = {
    "scheduler": ["ddim", "euler"], "cfg": ["low", "high"], "eval": ["quick", "full"], "strategy": ["lora", "attn2"],
}  # fmt: skip
SWEPT = [key for key in KEYS if identity.top(key) in identity.OF_A_CELL]


@pytest.mark.parametrize("metric", list(JUDGES))
def test_a_judge_is_swept_where_its_metric_is_asked(metric: str, base: Config, sweeping: Run) -> None:
    key = f"eval.{JUDGES[metric][0]}"
    space = {key: [str(path) for path in toy_judges_by_key()[key]]}
    config = replace(base, sweeps=replace(base.sweeps, space=space, fixed={}))
    assert "change no number" in refusal(config, sweeping)
    assert refusal(replace(config, eval=replace(config.eval, metrics=[metric])), sweeping) == ""


@pytest.mark.parametrize("key", [*SWEPT, *GROUPS])
def test_a_cell_is_what_a_run_of_its_own_would_be_or_is_refused(
    key: str, lab: Lab, base: Config, sweeping: Run, places: dict[str, Any]
) -> None:
    now = dict(leaves(base)).get(key)
    values = GROUPS.get(key) or [as_dict(now), places.get(key, other(key, now))]
    key = f"+{key}" if isinstance(now, dict) else key  # as one types it
    config = replace(base, sweeps=replace(base.sweeps, space={key: values}, fixed={}))
    if sentence := refusal(config, sweeping):
        assert f"sweeps.space.{key}: its values change no number of a cell" in sentence
        assert no_result(key) or key in OF_A_PRIOR or key in toy_judges_by_key()  # a judge that nobody asks
        return
    assert key not in identity.NO_RESULT or key in ("batch_size", "training.resume"), "would be measured for nothing"
    trains = identity.trains([key])
    for value in values:
        typed = [*sweeping.overrides, as_override(key, value)]
        try:
            alone: Config | str = base if value == as_dict(now) else compose(typed)
        except Exception as error:
            alone = str(error)
        try:
            own: Config | str = cell_config(config, sweeping, {key: value})
        except ConfigError as error:
            own = str(error)
        if isinstance(alone, str) or isinstance(own, str):
            assert isinstance(alone, Config) or isinstance(own, str), (own, alone)
            assert isinstance(own, Config) or isinstance(asked(alone, fresh(lab, typed), trains), str), own  # type: ignore[arg-type]
            continue
        kept = replace(alone, sweeps=own.sweeps, training=replace(alone.training, export_pipeline=False))
        assert own == kept
        of_cell, of_run = asked(own, sweeping, trains), asked(alone, fresh(lab, typed), trains)
        assert of_cell == of_run, (of_cell, of_run)


@pytest.mark.parametrize("key", [key for key in KEYS if identity.top(key) not in identity.OF_A_CELL])
@pytest.mark.parametrize("part", ["space", "fixed"])
def test_a_key_that_no_cell_reads_is_refused(part: str, key: str, base: Config, sweeping: Run) -> None:
    settings = {"space": {key: [1, 2]}, "fixed": {}} if part == "space" else {"fixed": {key: 1}}
    config = replace(base, sweeps=replace(base.sweeps, **settings))
    with pytest.raises(ConfigError, match=rf"sweeps.{part}.{key} is no key that a cell reads"):
        require_read(config, sweeping)


@pytest.mark.parametrize("key", ["cfg.scal", "scheduler.options.solver", "sampling", "cfg"])
def test_a_key_that_no_cell_can_have_is_refused_before_anything_is_measured(
    key: str, base: Config, sweeping: Run
) -> None:
    config = replace(base, sweeps=replace(base.sweeps, space={key: [1, 2]}, fixed={}))
    with pytest.raises(ConfigError, match=key.split(".")[0]):
        require_read(config, sweeping)


# -- what a study hangs on -------------------------------------------------------------------------------------------------


def test_what_a_study_knows_of_a_cell_hangs_on_every_key_that_its_numbers_do(
    lab: Lab, base: Config, sweeping: Run, places: dict[str, Any]
) -> None:
    """Also on those that are the same in all cells, whether they are fixed by the sweep or typed for it."""
    space = {"cfg.interval": [[0.0, 1000.0], [200.0, 800.0]]}
    wrong = []
    for key in (key for key in SWEPT if key not in space):
        now = dict(leaves(base))[key]
        value = places.get(key, other(key, now))
        trains = identity.trains([key])
        fixed = {"training.seed": 0} if trains else {}  # so that both train
        one = replace(base, sweeps=replace(base.sweeps, space=space, fixed=fixed))
        two = replace(one, sweeps=replace(one.sweeps, fixed={**fixed, key: value}))
        made = [identity.cell(cell_config(sweep, sweeping, {}), trains) for sweep in (one, one)]
        try:
            own = identity.cell(cell_config(two, sweeping, {}), trains)
            known = [Identities(sweep, sweeping)({"cfg.interval": [0.0, 1000.0]}) for sweep in (one, two)]
        except ConfigError:
            continue
        stages = [asked(cell_config(sweep, sweeping, {}), sweeping, trains) for sweep in (one, two)]
        if stages[0] != stages[1] and (known[0] == known[1] or made[0] == own):
            wrong.append(key)
    assert wrong == [], wrong


def test_arithmetic_is_part_of_what_a_study_knows(base: Config, sweeping: Run) -> None:
    cell = {"cfg.scale": 3.0}
    half = replace(base, launch=replace(base.launch, mixed_precision=Precision.bf16))
    one, two = (Identities(config, sweeping)(cell) for config in (base, half))
    assert one != two and len(one) == len(two) == 32
