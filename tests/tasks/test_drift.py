"""`task=drift`: tuned models on domains that they were not tuned on."""

from pathlib import Path

import pytest
import yaml

from ..conftest import TOY, Lab

DOMAINS = "dataset.domains=[animal,food]"


def test_each_cell_is_the_change_from_the_base_model(lab: Lab, tuned_run: Path) -> None:
    data = ["dataset.train=40", "dataset.val=40", *TOY]
    ended = lab.here("task=drift", *data, DOMAINS, f"runs=[{tuned_run}]")
    cells = {name: value for name, value in ended.metrics.items() if not name.endswith((".low", ".high"))}
    assert set(cells) == {
        f"{metric}/{tuned_run.name}/{domain}" for metric in ("clip_score", "kid") for domain in ("animal", "food")
    }
    alone = ["task=evaluate", *data, "dataset.domains=[animal]", "eval.metrics=[clip_score,kid]"]
    base, tuned = (lab.here(*alone, *weights).metrics for weights in ([], [f"weights={tuned_run}"]))
    for metric in ("clip_score", "kid"):
        expected = tuned[f"{metric}[tiny_clip]"] - base[f"{metric}[tiny_clip]"]
        assert cells[f"{metric}/{tuned_run.name}/animal"] == pytest.approx(expected, rel=1e-6)
        assert (ended.folder / "figures" / f"drift_{metric}.png").exists()
    first, second = ended.json("sections.json")
    assert first["tables"][0]["columns"] == ["tuned on", "tested on animal", "tested on food"]
    assert second["tables"][0]["caption"].startswith("Change of kid[tiny_clip] from the base model")


@pytest.fixture(scope="module")
def adapters(lab: Lab) -> dict[str, Path]:
    """An adapter a domain, by one command."""
    data = ["experiment=multi_domain_tiny", "dataset.train=60", "dataset.val=60", *TOY]
    asked = ["-m", "task=train", *data, "strategy.learning_rate=0.05", "dataset.domains=[animal],[food]"]
    ended = lab.here(*asked)
    assert ended.status == 0 and len(ended.folders) == 2, ended.err
    told = {folder: yaml.safe_load((folder / "config.yaml").read_text()) for folder in ended.folders}
    found = {own["dataset"]["domains"][0]: folder for folder, own in told.items()}
    return {name: found[name] for name in ("animal", "food")}


def test_adapters_of_several_domains_are_judged_alone_and_merged(lab: Lab, adapters: dict[str, Path]) -> None:
    both = ",".join(map(str, adapters.values()))
    data = ["experiment=multi_domain_tiny", "dataset.train=60", "dataset.val=60", *TOY]
    asked = ["task=drift", *data, DOMAINS, f"runs=[{both}]", f"weights=[{both}]", "weights_scale=[0.5,1]"]
    ended = lab.here(*asked)
    assert ended.status == 0, ended.err
    merged = "animal x 0.5 + food x 1"
    rows = [row[0] for row in ended.json("sections.json")[0]["tables"][0]["rows"]]
    assert rows == ["animal", "food", merged]
    evaluated = ["task=evaluate", *data, "dataset.domains=[food]", "eval.metrics=[clip_score,kid]"]
    base, together = (
        lab.here(*evaluated, *own).metrics for own in ([], [f"weights=[{both}]", "weights_scale=[0.5,1]"])
    )
    change = together["clip_score[tiny_clip]"] - base["clip_score[tiny_clip]"]
    assert ended.metrics[f"clip_score/{merged}/food"] == pytest.approx(change, rel=1e-6) and change != 0
    assert ended.metrics[f"clip_score/{merged}/food"] != ended.metrics["clip_score/food/food"]


def test_without_runs_or_domains_it_says_what_to_type(lab: Lab) -> None:
    ended = lab.here("task=drift", DOMAINS)
    assert ended.status == 2 and "type runs=[<tuned run>,...]" in ended.err.splitlines()[-1]
