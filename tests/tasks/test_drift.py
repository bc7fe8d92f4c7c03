"""`task=drift`: tuned models on domains that they were not tuned on."""

from pathlib import Path

import pytest

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


def test_without_runs_or_domains_it_says_what_to_type(lab: Lab) -> None:
    ended = lab.here("task=drift", DOMAINS)
    assert ended.status == 2 and "type runs=[<tuned run>,...]" in ended.err.splitlines()[-1]
