"""Judges of preference and of questions on the command line: chosen by `eval.metrics`, told in sentence, table and plan."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2i.data.sources.scenes.captions import captions
from t2i.data.sources.scenes.world import describe, render

from ..conftest import Lab
from ..evaluation import toy_judges

COUNT = 16


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clear` pictures with their captions, and `noisy` ones of the same; toy judges beside them."""
    root = tmp_path_factory.mktemp("judged")
    texts = [captions(describe(0, 500 + number))[0] for number in range(COUNT)]
    for name in ("clear", "noisy"):
        (root / name).mkdir()
        for number in range(COUNT):
            picture = np.array(render(describe(0, 500 + number), 64))
            if name == "noisy":
                picture[:, 32:] = 255 - picture[:, 32:]
            Image.fromarray(picture).save(root / name / f"{number:03d}.png")
        (root / name / "captions.json").write_text(json.dumps(texts))
    toy_judges.clip(root / "PickScore_v1")
    toy_judges.hpsv2(root / "HPS_v2.1_compressed.pt")
    toy_judges.qwen(root / "toy-vlm")
    return root


def keys(sets: Path) -> list[str]:
    return [
        f"eval.pickscore={sets / 'PickScore_v1'}",
        f"eval.hpsv2={sets / 'HPS_v2.1_compressed.pt'}",
        f"eval.vlm={sets / 'toy-vlm'}",
        "eval.metrics=[clip_score,pickscore,hpsv2,vqa_score]",
    ]


def test_two_folders_are_told_by_which_is_preferred(lab: Lab, sets: Path) -> None:
    ended = lab.here("task=compare", f"pictures=[{sets / 'clear'},{sets / 'noisy'}]", *keys(sets))
    assert ended.status == 0, ended.err
    (section,) = ended.json("sections.json")
    preferred = ended.metrics["pickscore[PickScore_v1].preferred"]
    assert f"oisy preferred on {100 * preferred:.0f} % of {COUNT} prompts [" in section["text"]
    assert "by PickScore" in section["text"] and "by HPSv2" in section["text"]
    (table, untested) = section["tables"][:2]
    row = next(row for row in table["rows"] if row[0] == "pickscore[PickScore_v1]")
    assert "won," in row[4] and "mean " in row[4] and "seen from" in row[4]
    assert "Preferred: the share of pairs" in table["caption"]
    assert [own[0] for own in untested["rows"]] == ["vqa_score_answered[toy-vlm]"]
    page = (ended.folder / "report.html").read_text(encoding="utf-8")
    assert "PickScore (PickScore_v1)" in page and "noisy preferred on" in page
    (found,) = ended.json("verdicts.json")
    assert found["sentence"].startswith("noisy preferred on")
    said = {row["verdict"] for row in found["rows"]}
    assert ("The judges do not agree" in section["text"]) == (len(said) > 1)
    definition = ended.json("stages.json")
    assert definition  # the numbers are stages of the store like any others


def test_a_judge_is_part_of_what_its_numbers_hang_on(lab: Lab, sets: Path) -> None:
    toy_judges.clip(sets / "other" / "PickScore_v1", seed=7)
    first, second = (
        lab.here("task=evaluate", f"pictures={sets / 'clear'}", "eval.metrics=[pickscore]", f"eval.pickscore={where}")
        for where in (sets / "PickScore_v1", sets / "other" / "PickScore_v1")
    )
    name = "pickscore[PickScore_v1]"
    assert first.metrics[name] != second.metrics[name]
    one, other = (ended.json("definition.json")["judges"]["pickscore"]["sha256"] for ended in (first, second))
    assert one != other


def test_pictures_without_captions_are_not_judged_and_no_judge_is_loaded(lab: Lab, sets: Path) -> None:
    (sets / "plain").mkdir(exist_ok=True)
    for path in sorted((sets / "clear").glob("*.png")):
        Image.open(path).save(sets / "plain" / path.name)
    ended = lab.here("task=evaluate", f"pictures={sets / 'plain'}", *keys(sets))
    assert ended.status == 0, ended.err
    assert "pickscore" in ended.out and "needs texts" in ended.out and "needs answers" in ended.out


def test_a_plan_says_size_and_licence_of_judges_that_are_not_here(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ended = lab.here("task=evaluate", "eval.metrics=[pickscore,hpsv2,vqa_score]", "plan=true")
    assert ended.status == 0, ended.err
    for told in (
        "eval.pickscore=yuvalkirstain/PickScore_v1, about 3.94 GB, MIT",
        "eval.hpsv2=xswu/HPSv2, about 1.97 GB, Apache-2.0",
        "eval.vlm=Qwen/Qwen3-VL-2B-Instruct, about 4.26 GB, Apache-2.0",
    ):
        assert told in ended.out


def test_a_judge_that_is_not_here_is_told_before_anything_is_drawn(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ended = lab.here("task=evaluate", "eval.metrics=[pickscore]", "eval.images=3", "seed=8731")
    assert ended.status == 1 and "hf download yuvalkirstain/PickScore_v1" in ended.err
    assert "pictures" not in ended.out.replace("metrics", "")
