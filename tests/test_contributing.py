"""CONTRIBUTING.md, followed to the letter in a copy of the project: how many files each addition touches, and that it works."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from t2i.randomness import generator

from .conftest import PROJECT

GUIDE = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COPIED = ("run.py", "conf", "docs", "sweeps", "t2i", "pyproject.toml")
RUN = """
import runpy, sys
for line in sys.argv[1:]:
    sys.argv = ["run.py", *line.split()]
    try:
        runpy.run_path("run.py", run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
"""


@dataclass
class Section:
    """One `##` section of the guide: its code blocks in their order, and the lines it tells to add."""

    text: str
    blocks: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.blocks = [block.partition("\n")[2] for block in self.text.split("```")[1::2]]

    def file(self, number: int = 0) -> str:
        """The `number`th file that the prose names, of those that do not exist yet."""
        named = re.findall(r"`((?:conf|t2i|sweeps)/[\w/.]+)`", self.text)
        return [name for name in dict.fromkeys(named) if not (PROJECT / name).exists()][number]

    def entry(self) -> str:
        """The registry line that is quoted."""
        return re.findall(r'`("\w+": .+?,)`', self.text)[0]


def section(title: str) -> Section:
    parts = re.split(r"^## ", GUIDE, flags=re.MULTILINE)
    return Section(next(part for part in parts if part.startswith(title)))


def put(project: Path, name: str, text: str) -> None:
    assert not (project / name).exists()
    (project / name).write_text(text, encoding="utf-8")


def edit(project: Path, name: str, changes: dict[str, str]) -> None:
    text = (project / name).read_text(encoding="utf-8")
    for old, new in changes.items():
        assert text.count(old) == 1, f"{old} is {text.count(old)} times in {name}"
        text = text.replace(old, new)
    (project / name).write_text(text, encoding="utf-8")


def a_scheduler(project: Path) -> None:
    guide = section("A scheduler")
    text = guide.blocks[0].replace("deis", "my_deis")  # the example is one that the project has
    put(project, "conf/scheduler/my_deis.yaml", text)


def a_dataset(project: Path) -> None:
    guide = section("A dataset")
    put(project, guide.file(), guide.blocks[0])


def a_strategy(project: Path) -> None:
    guide = section("A strategy")
    path = project / "t2i/training/strategies.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n\n" + guide.blocks[0], encoding="utf-8")
    importing = "from t2i.training.strategies import "
    changes = {
        importing: f"{importing}Attn1ToV, ",
        '    "strategy": {\n': f'    "strategy": {{\n        {guide.entry()}\n',
    }
    edit(project, "t2i/config/options.py", changes)
    put(project, guide.file(), guide.blocks[1])


def a_family(project: Path) -> None:
    guide = section("A model family")
    put(project, guide.file(0), guide.blocks[0])
    put(project, guide.file(1), guide.blocks[1])
    importing = "from t2i.models.families.sd1 import StableDiffusion1\n"
    opening = "FAMILIES: dict[str, Family] = {\n"
    changes = {
        opening: f"{opening}    {guide.entry()}\n",
        importing: f"from t2i.models.families.harbour import Harbour\n{importing}",
    }
    edit(project, "t2i/models/families/registry.py", changes)


def a_metric(project: Path) -> None:
    guide = section("A metric")
    put(project, guide.file(), guide.blocks[0])
    opening = "METRICS: dict[str, Metric] = {\n"
    importing = "from t2i.evaluation.metrics import (\n"
    changes = {opening: f"{opening}    {guide.entry()}\n", importing: f"{importing}    spread,\n"}
    edit(project, "t2i/evaluation/metrics/registry.py", changes)


def a_stage(project: Path) -> None:
    guide = section("A stage")
    put(project, guide.file(), guide.blocks[0])
    row = "| `comparison` | two `metrics`, or several against the first |"
    edit(project, "docs/architecture.md", {row: guide.blocks[1] + row})
    goals, read = '    yield "numbers", [_numbers(config)]\n', "    measured = stage.read(run)\n"
    importing = "from t2i.stages.fitting import"
    module = guide.file().removesuffix(".py").replace("/", ".")
    changes = {
        goals: goals + guide.blocks[2],
        read: read + guide.blocks[3],
        "import is_there\n": "import is_there, made\n",
        importing: f"from {module} import Brightness\n{importing}",
    }
    edit(project, "t2i/tasks/evaluate.py", changes)


ADDITIONS: dict[Callable[[Path], None], int] = {
    a_dataset: 1,
    a_scheduler: 1,
    a_strategy: 3,
    a_family: 3,
    a_metric: 2,
    a_stage: 3,
}
"""What is added, and how many files that may touch."""


def digests(project: Path) -> dict[str, str]:
    return {
        path.relative_to(project).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in project.rglob("*")
        if path.is_file()
    }


def birds(root: Path) -> None:
    """The dataset's files as the hub has them."""
    rows = []
    for number in range(40):
        pixels = generator("bird", number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        rows.append({"image": {"bytes": file.getvalue(), "path": f"{number}.png"}, "text": f"bird number {number}"})
    (root / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), root / "data" / "train-00000-of-00001.parquet")


def harbour(root: Path) -> None:
    """The bundled model as the maker of another family would publish it."""
    shutil.copytree(PROJECT / "t2i" / "assets" / "tiny", root)
    path = root / "model_index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(index | {"_class_name": "HarbourPipeline"}), encoding="utf-8")


def test_the_guide_is_enough_and_touches_as_few_files_as_it_says(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for name in COPIED:
        source = PROJECT / name
        shutil.copytree(source, project / name, ignore=shutil.ignore_patterns("__pycache__")) if source.is_dir() else (
            shutil.copy(source, project / name)
        )
    for add, most in ADDITIONS.items():
        before = digests(project)
        add(project)
        after = digests(project)
        touched = sorted(name for name in after if after[name] != before.get(name))
        assert len(touched) == most, f"{add.__name__} touched {touched}"
    birds(tmp_path / "birds")
    harbour(project / "models" / "harbour")
    data = f"dataset=birds dataset.root={tmp_path}/birds"
    common = f"outputs={tmp_path}/outputs track.enabled=false"
    drawn = "scheduler=my_deis scheduler.steps=2 eval.images=6 eval.replicates=100 eval.metrics=[spread]"
    evaluating = f"task=evaluate {data} {drawn} {common}"
    lines = [
        f"task=verify strategy=attn1_to_v {common}",
        f"{evaluating} plan=true",
        evaluating,
        f"task=train {data} model=harbour training.steps=2 training.batch_size=2 training.validation_images=0 {common}",
    ]
    environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *lines], cwd=project, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr + done.stdout
    verified, evaluated, trained = sorted(
        (tmp_path / "outputs").glob("20*/*_*"), key=lambda folder: folder.stat().st_ctime
    )
    counted = json.loads((verified / "metrics.json").read_text(encoding="utf-8"))
    assert counted["trainable_parameters"] > 0
    assert re.search(r"brightness +brightness +to be made", done.stdout)
    stages = json.loads((evaluated / "stages.json").read_text(encoding="utf-8"))
    (bright,) = (stage["digest"] for name, stage in stages.items() if name.startswith("brightness/"))
    means = json.loads((tmp_path / "outputs/store/brightness" / bright / "brightness.json").read_text(encoding="utf-8"))
    assert len(means) == 6 and all(0 < mean < 255 for mean in means)
    numbers = json.loads((evaluated / "metrics.json").read_text(encoding="utf-8"))
    assert numbers["spread[tiny_clip].low"] < numbers["spread[tiny_clip]"] < numbers["spread[tiny_clip].high"]
    definition = json.loads((evaluated / "definition.json").read_text(encoding="utf-8"))
    assert definition["generation"]["scheduler"]["type"] == "DEISMultistepScheduler"
    weights = json.loads((trained / "weights" / "strategy.json").read_text(encoding="utf-8"))
    assert weights["model"] == "harbour" and (trained / "pipeline" / "model_index.json").exists()
    assert (tmp_path / "outputs" / "store" / "wiring").exists(), "the family went through task=verify's checks"
    index = json.loads((trained / "pipeline" / "model_index.json").read_text(encoding="utf-8"))
    assert index["_class_name"] == "StableDiffusionPipeline", "whose classes its networks are"
    assert 6 <= definition["reference_count"] <= 20, "three tenths of 40, each by its own draw"


@pytest.mark.parametrize(
    "title", ["A scheduler", "A dataset", "A strategy", "A model family", "A metric", "A stage", "A sweep"]
)
def test_every_addition_has_its_section_with_an_example(title: str) -> None:
    assert section(title).blocks
