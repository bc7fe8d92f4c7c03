"""The drawn world: a function of (seed, index), recognisably the same at every size, and honest COCO on disk."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2i.data.sources.scenes import (
    CATEGORIES,
    COLOURS,
    SUPERCATEGORIES,
    Scene,
    Thing,
    captions,
    describe,
    render,
    write,
)
from t2i.data.sources.scenes.canvas import Canvas
from t2i.data.sources.scenes.captions import captions as captions_of
from t2i.data.sources.scenes.captions import plural
from t2i.data.sources.scenes.coco import CATEGORY_IDS, first_index
from t2i.data.sources.scenes.mascots import MASCOTS
from t2i.data.sources.scenes.world import CHARACTERS, RELATIONS, portray
from t2i.data.sources.scenes_dataset import Character, Scenes
from t2i.errors import UserError

SCENES = [describe(3, index) for index in range(400)]


def pixels(scene: Scene, size: int) -> np.ndarray:
    return np.asarray(render(scene, size), dtype=np.float64)


def alone(category: str, colour: str, background: str = "meadow") -> Scene:
    return Scene(0, 0, background, (Thing(category, "", colour, 0.5, 0.53, 0.76, False),), None)


def test_five_supercategories_of_six_categories() -> None:
    assert set(SUPERCATEGORIES) == {"animal", "vehicle", "food", "sports", "indoor"}
    assert all(len(names) == 6 for names in SUPERCATEGORIES.values())
    assert len(set(CATEGORIES)) == len(set(CATEGORY_IDS.values())) == 30 and set(CATEGORIES) == set(CATEGORY_IDS)


def test_a_scene_is_a_function_of_seed_and_index() -> None:
    assert describe(5, 9) == describe(5, 9)
    assert render(describe(5, 9), 64).tobytes() == render(describe(5, 9), 64).tobytes()
    assert captions(describe(5, 9)) == captions(describe(5, 9))
    assert len({describe(seed, 9).things for seed in range(20)}) == 20


def test_the_mix_of_one_several_and_related_things() -> None:
    related = sum(scene.relation is not None for scene in SCENES) / len(SCENES)
    several = sum(scene.relation is None and len(scene.things) > 1 for scene in SCENES) / len(SCENES)
    # Four standard errors of a proportion over 400 scenes: 4 * sqrt(p * (1 - p) / 400).
    assert abs(related - 0.18) < 0.077 and abs(several - 0.12) < 0.065


@pytest.mark.parametrize("index", range(6))
def test_a_scene_looks_the_same_at_each_size(index: int) -> None:
    small = pixels(SCENES[index], 64)
    for size, step in ((128, 2), (256, 4), (512, 8)):
        image = pixels(SCENES[index], size)
        assert image.shape == (size, size, 3)
        reduced = image.reshape(64, step, 64, step, 3).mean(axis=(1, 3))
        assert np.abs(reduced - small).mean() < 3.0


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_is_drawn_large_in_its_main_colour(category: str) -> None:
    empty = pixels(Scene(0, 0, "meadow", (), None), 64)
    red, blue = pixels(alone(category, "red"), 64), pixels(alone(category, "blue"), 64)
    assert (np.abs(red - empty).max(axis=2) > 30).mean() > 0.1
    assert (np.abs(red - blue).max(axis=2) > 60).mean() > 0.04


def test_no_two_categories_look_alike() -> None:
    pictures = np.stack([pixels(alone(category, "red"), 64) for category in CATEGORIES])
    distances = np.abs(pictures[:, None] - pictures[None]).mean(axis=(2, 3, 4))
    assert distances[~np.eye(len(CATEGORIES), dtype=bool)].min() > 8


def test_a_flipped_thing_is_the_mirror_image() -> None:
    plain = alone("bus", "red")
    thing = plain.things[0]
    flipped = Scene(0, 0, "meadow", (Thing(thing.category, "", "red", 0.5, 0.53, 0.76, True),), None)
    empty = pixels(Scene(0, 0, "meadow", (), None), 64)
    mask, mirror = (np.abs(pixels(scene, 64) - empty).max(axis=2) > 60 for scene in (plain, flipped))
    assert (mask[:, ::-1] == mirror).mean() > 0.97


@pytest.mark.parametrize("size", [63, 513])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(UserError, match="64 to 512"):
        render(SCENES[0], size)


def test_captions_name_what_is_there() -> None:
    for scene in SCENES:
        texts = captions(scene)
        assert len(set(texts)) == 5
        several = scene.relation is None and len(scene.things) > 1
        for text in texts:
            assert text == text.lower() and len(text.split()) <= 16
            for thing in scene.things:
                assert (plural(thing.category) if several else thing.category) in text
        for thing in scene.things:
            name = plural(thing.category) if several else thing.category
            assert f"{thing.colour} {name}" in texts[0]
        if scene.relation:
            assert scene.relation in RELATIONS and f" {scene.relation} " in texts[0]
        if several:
            assert texts[0].startswith(("two ", "three ")[len(scene.things) - 2])


def test_captions_use_a_and_an_and_plurals_rightly() -> None:
    assert captions(alone("elephant", "orange"))[0] == "an orange elephant in a meadow"
    assert captions(alone("scissors", "red"))[0] == "red scissors in a meadow"
    assert [plural(name) for name in ("bus", "sheep", "teddy bear")] == ["buses", "sheep", "teddy bears"]
    assert not any(" a orange" in f" {text}" or " a elephant" in f" {text}" for s in SCENES for text in captions(s))


def test_positions_agree_with_the_relation() -> None:
    for scene in SCENES:
        if scene.relation:
            one, other = scene.things
            seen = {"left of": one.x < other.x, "right of": one.x > other.x}
            seen |= {"above": one.y < other.y, "below": one.y > other.y}
            assert seen[scene.relation] and one.category != other.category


def read(root: Path, kind: str, split: str) -> dict:
    return json.loads((root / "annotations" / f"{kind}_{split}.json").read_text())


def test_coco_files_refer_to_each_other_consistently(tmp_path: Path) -> None:
    write(tmp_path, 11, {"train": 20, "val": 5}, 64)
    for split, count in (("train", 20), ("val", 5)):
        texts, things = read(tmp_path, "captions", split), read(tmp_path, "instances", split)
        assert texts["images"] == things["images"] and len(texts["images"]) == count
        images = {image["id"]: image for image in texts["images"]}
        for image in images.values():
            assert image["file_name"] == f"{split}/{image['id']:012d}.png"
            with Image.open(tmp_path / "images" / image["file_name"]) as picture:
                assert picture.size == (image["width"], image["height"]) == (64, 64) and picture.mode == "RGB"
        assert len(texts["annotations"]) == 5 * count
        categories = {row["id"]: row for row in things["categories"]}
        for rows in (texts["annotations"], things["annotations"]):
            assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
            assert {row["image_id"] for row in rows} == set(images)
        for row in things["annotations"]:
            x, y, width, height = row["bbox"]
            assert 0 <= x and 0 <= y and width > 8 and height > 4 and x + width <= 64.01 and y + height <= 64.01
            truth = images[row["image_id"]]["scene"]
            scene = describe(truth["seed"], truth["index"])
            assert (truth["background"], truth["relation"]) == (scene.background, scene.relation)
            pairs = {(thing.category, thing.colour) for thing in scene.things}
            assert (categories[row["category_id"]]["name"], row["attributes"]["colour"]) in pairs
        owners = [row["image_id"] for row in things["annotations"]]
        assert all(owners.count(number) == image["scene"]["count"] for number, image in images.items())


def test_splits_are_disjoint_and_do_not_depend_on_each_others_length(tmp_path: Path) -> None:
    names = ("train", "val", "test", "train2017", "val2017")
    starts = sorted(first_index(name) for name in names)
    assert min(later - earlier for earlier, later in itertools.pairwise(starts)) >= 2**28
    write(tmp_path / "a", 1, {"train": 3, "val": 2}, 64)
    write(tmp_path / "b", 1, {"train": 7, "val": 2}, 64)
    assert read(tmp_path / "a", "instances", "val") == read(tmp_path / "b", "instances", "val")


def test_the_same_bytes_whatever_the_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one", 2, {"train": 130}, 64)
    monkeypatch.setattr("t2i.data.sources.scenes.coco._INLINE_BELOW", 1)
    write(tmp_path / "pool", 2, {"train": 130}, 64)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 132
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "pool" / name).read_bytes() for name in files)


def test_a_negative_count_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="-1 scenes"):
        write(tmp_path, 0, {"train": -1}, 64)


def test_every_colour_has_its_own_pixels() -> None:
    values = np.array(list(COLOURS.values()), dtype=np.float64)
    distances = np.linalg.norm(values[:, None] - values[None], axis=2)
    assert distances[~np.eye(len(values), dtype=bool)].min() > 60


@pytest.mark.parametrize("name", CHARACTERS)
def test_a_character_is_alone_in_every_picture_in_its_colour_and_by_its_name(name: str) -> None:
    kind, _, colour = CHARACTERS[name]
    for index in range(12):
        scene = portray(3, index, name)
        assert scene == portray(3, index, name) and [thing.category for thing in scene.things] == [name]
        texts = captions_of(scene)
        assert len(set(texts)) == 5 and all(f"{name} the" in text and text == text.lower() for text in texts)
        assert all(kind in text for text in texts)
        pixels = np.asarray(render(scene, 128)).reshape(-1, 3).astype(int)
        least = 0.04 if name in MASCOTS else 0.08  # some are spotted, or wear something over it
        assert (np.abs(pixels - colour).max(axis=1) <= 12).mean() > least, "a body of that colour"
    backgrounds = {portray(3, index, name).background for index in range(60)}
    assert len(backgrounds) == 8


@pytest.mark.parametrize("name", MASCOTS)
def test_a_few_pictures_of_a_mascot_are_in_different_places_and_like_no_other_of_its_class(name: str) -> None:
    kind, _, colour = MASCOTS[name]
    scenes = [portray(5, index, name) for index in range(5)]
    assert kind in CATEGORIES and len({scene.background for scene in scenes}) == 5
    for scene in scenes:
        (thing,) = scene.things
        plain = replace(scene, things=(replace(thing, category=kind, supercategory=_group(kind), colour=colour),))
        difference = np.abs(np.asarray(render(scene, 64), int) - np.asarray(render(plain, 64), int)).max(axis=2)
        assert (difference > 60).mean() > 0.04, "what it wears is no detail"


@pytest.mark.parametrize("name", MASCOTS)
def test_the_bundled_model_can_write_a_mascot_in_its_colour(name: str) -> None:
    """What the VAE cannot write no training of the rest can draw: it makes a pink cat white, 49 levels away."""
    import torch
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained("t2i/assets/tiny/vae")
    drawn = np.stack([np.asarray(render(portray(0, index, name), 64)) for index in range(4)])
    with torch.no_grad():
        latents = vae.encode(torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1).latent_dist.mean
        written = ((vae.decode(latents).sample.permute(0, 2, 3, 1).numpy() + 1) * 127.5).clip(0, 255)
    body = np.abs(drawn.astype(int) - CHARACTERS[name][2]).max(axis=3) <= 12
    assert np.abs(written[body] - drawn[body]).mean() < 28


def test_mascots_are_ten_that_nobody_takes_for_each_other() -> None:
    shown = {}
    for name in MASCOTS:
        _, drawing, colour = CHARACTERS[name]
        canvas = Canvas(64)
        canvas.gradient((0.0, (255, 255, 255)), (1.0, (255, 255, 255)))
        canvas.frame(0.5, 0.54, 0.7, False)
        drawing(canvas, colour, np.random.default_rng(0))
        shown[name] = np.asarray(canvas.finish(), int)
    assert len(shown) == 10 and [one.value for one in Character] == ["pip", *shown]
    for one, other in itertools.combinations(shown.values(), 2):
        assert (np.abs(one - other).max(axis=2) > 60).mean() > 0.1


def test_a_character_is_held_back_by_its_class_and_by_the_world() -> None:
    captions = Scenes(character=Character.ben).regularised()
    assert captions[0] == "a teddy bear in a meadow" and len(set(captions)) > 50
    assert not [text for text in captions if "ben" in text.split()]
    assert Scenes(character=Character.ben).classes() == ["teddy bear"] and Scenes().regularised() == []
    assert Scenes(character=Character.ben, regularisation=["a bus"]).regularised() == ["a bus"]


def _group(kind: str) -> str:
    return next(group for group, names in SUPERCATEGORIES.items() if kind in names)


def test_no_scene_of_the_world_shows_a_character() -> None:
    shown = {thing.category for index in range(400) for thing in describe(0, index).things}
    assert not shown & CHARACTERS.keys() and "purple" in COLOURS
