"""Drawing from a picture that somebody gives to the server, and with other shares of its adapters: as task=generate does it."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from PIL import Image

from ..conftest import Lab
from .conftest import Server, serving
from .test_page import LAPTOP, PHONE, make, opened, picture

if TYPE_CHECKING:
    from playwright.sync_api import Page


def photo(size: tuple[int, int] = (120, 80), kind: str = "PNG", **options: Any) -> bytes:
    """Red on the left, blue on the right."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, : size[0] // 2, 0] = pixels[:, size[0] // 2 :, 2] = 220
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def half(size: tuple[int, int] = (120, 80)) -> bytes:
    """White on the left."""
    image = Image.new("L", size)
    image.paste(255, (0, 0, size[0] // 2, size[1]))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def sent(server: Server, content: bytes, kind: str = "image/png") -> httpx.Response:
    return httpx.post(f"{server.url}/v1/pictures", content=content, headers={"content-type": kind}, timeout=60)


def recipe_of(server: Server, answer: httpx.Response) -> tuple[np.ndarray, dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return picture(server, answer.headers["X-Pictures"])  # type: ignore[return-value]


def test_a_picture_that_was_sent_is_drawn_from_and_made_again_by_the_recipe(server: Server, empty_lab: Lab) -> None:
    image, mask = sent(server, photo()).json(), sent(server, half()).json()
    assert (image["width"], image["height"]) == (120, 80) and image["name"] != mask["name"]
    order = {"prompt": "a red cat", "steps": 4, "image": image["name"], "strength": 0.5, "model": "base"}
    drawn, recipe = recipe_of(server, server.ask(**order))
    assert recipe["strength"] == 0.5 and recipe["image"]["path"].endswith(f"uploads/{image['name']}")
    masked, other = recipe_of(server, server.ask(**order, mask=mask["name"]))
    assert other["mask"]["path"].endswith(mask["name"]) and not np.array_equal(drawn, masked)
    wide, _ = recipe_of(server, server.ask(**order, width=96))
    assert wide.shape == (64, 96, 3)
    for path in sorted((server.folder / "images").glob("*.png"), key=lambda file: file.stat().st_mtime)[-3:]:
        again = empty_lab.here("task=generate", f"recipe={path}")
        assert again.metrics["identical"] == 1.0, again.out


def test_the_server_draws_what_the_command_line_draws(server: Server, empty_lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo(kind="JPEG"))
    name = sent(server, photo(kind="JPEG"), "image/jpeg").json()["name"]
    drawn, _ = recipe_of(server, server.ask(steps=4, image=name, seed=3, model="base", strength=0.6))
    ended = empty_lab.here(
        "task=generate", 'prompts=["a red cat"]', "scheduler.steps=4", f"image={tmp_path}/photo.jpg", "strength=0.6", "seed=3",
        "sampling.vae_slicing=true", "sampling.vae_tiling=true", "batch_size=1",
    )  # fmt: skip
    with Image.open(ended.folder / "images" / "000000.png") as image:
        assert np.array_equal(np.asarray(image), drawn)


def test_a_drawn_picture_can_be_drawn_from(server: Server) -> None:
    first = server.ask(seed=1).headers["X-Pictures"].rpartition("/")[2]
    _, recipe = recipe_of(server, server.ask(seed=2, steps=4, image=first))
    assert Path(recipe["image"]["path"]) == server.folder / "images" / first


def test_what_is_no_picture_is_refused_in_one_sentence(server: Server) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    bomb = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(bomb, "PNG")
    before = set((server.folder / "uploads").glob("*"))
    for content, kind, status, sentence in (
        (b"", "image/png", 400, "empty file"),
        (b"no picture", "image/png", 400, "unreadable"),
        (photo()[:90], "image/png", 400, "truncated"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", 400, "unreadable"),
        (bomb.getvalue(), "image/png", 400, "more than 64,000,000 pixels"),
        (photo((8, 8)), "image/png", 400, "must have 16 pixels"),
        (photo(), "application/json", 415, "Content-Type: image/*"),
        (photo(), "text/plain", 415, "Content-Type: image/*"),
        (b"x" * 10_000_001, "image/png", 413, "larger than 10 MB"),
    ):
        answer = sent(server, content, kind)
        assert answer.status_code == status and sentence in answer.json()["error"], answer.text
    assert set((server.folder / "uploads").glob("*")) == before, "nothing of it is kept"
    foreign = httpx.post(
        f"{server.url}/v1/pictures",
        content=photo(),
        headers={"content-type": "image/png", "origin": "http://evil.example"},
    )
    assert foreign.status_code == 403
    assert sent(server, photo((40, 60), "JPEG", exif=exif), "image/jpeg").status_code == 200
    name = sent(server, black()).json()["name"]
    answer = server.ask(steps=4, image=name, mask=name)
    assert answer.status_code == 400 and "white is what is drawn anew" in answer.json()["error"]
    answer = server.ask(steps=4, image=name, strength=0.1)
    assert answer.status_code == 400 and "leaves none; use 10 steps or more" in answer.json()["error"]


def black() -> bytes:
    file = io.BytesIO()
    Image.new("L", (64, 64)).save(file, "PNG")
    return file.getvalue()


# -- adapters ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two LoRAs of the tiny model, as other tools write them."""
    import torch

    from t2i.config import compose
    from t2i.models.load import load
    from t2i.store import Store

    root = tmp_path_factory.mktemp("adapters")
    found = []
    for number, name in enumerate(("style", "pip")):
        config = compose(["strategy=lora", "strategy.rank=2"])
        models = load(config.model, Store(root / "store"))
        config.strategy.attach(models)
        with torch.no_grad():
            generator = torch.Generator().manual_seed(number)
            for parameter in config.strategy.trainable(models).values():
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
        (root / name).mkdir()
        config.strategy.save(models, root / name)
        found.append((root / name / "pytorch_lora_weights.safetensors").rename(root / f"{name}.safetensors"))
    return found


@pytest.fixture(scope="module")
def with_adapters(tmp_path_factory: pytest.TempPathFactory, adapters: list[Path]) -> Iterator[Server]:
    outputs = tmp_path_factory.mktemp("with_adapters")
    weights = f"weights=[{','.join(map(str, adapters))}]"
    with serving(outputs, weights, "weights_scale=[1.0,0.4]", "serve.rate=1000000", "scheduler.steps=4") as running:
        yield running


def test_shares_of_adapters_are_those_of_the_command_line(
    with_adapters: Server, adapters: list[Path], empty_lab: Lab
) -> None:
    drawn = {}
    for scales in (
        [0.3, 1.5],
        [1.0, 0.4],
        [0.0, 0.0],
    ):  # in this order: the model changes from one to the next, and back
        pixels, recipe = recipe_of(with_adapters, with_adapters.ask(scales=scales, steps=4))
        assert recipe["weights"]["scale"] == scales
        drawn[tuple(scales)] = pixels
        again = empty_lab.here(
            "task=generate", 'prompts=["a red cat"]', "scheduler.steps=4", f"weights=[{','.join(map(str, adapters))}]",
            f"weights_scale=[{scales[0]},{scales[1]}]", "sampling.vae_slicing=true", "sampling.vae_tiling=true", "batch_size=1",
        )  # fmt: skip
        with Image.open(again.folder / "images" / "000000.png") as image:
            assert np.array_equal(np.asarray(image), pixels), scales
    assert len({pixels.tobytes() for pixels in drawn.values()}) == 3
    base, _ = recipe_of(with_adapters, with_adapters.ask(model="base", steps=4))
    assert np.abs(base.astype(int) - drawn[0.0, 0.0]).max() <= 1
    plainly, recipe = recipe_of(with_adapters, with_adapters.ask(steps=4))
    assert np.array_equal(plainly, drawn[1.0, 0.4]) and recipe["weights"]["scale"] == [1.0, 0.4]
    newest = max((with_adapters.folder / "images").glob("*.png"), key=lambda file: file.stat().st_mtime)
    assert empty_lab.here("task=generate", f"recipe={newest}").metrics["identical"] == 1.0
    assert (
        with_adapters.ask(scales=[1.0])
        .json()["error"]
        .startswith("scales is [1.0]; use 2 numbers (one for each of style, pip)")
    )


def test_a_slider_of_each_adapter_reaches_the_recipe(browser: Any, with_adapters: Server) -> None:
    page = opened(browser, with_adapters, LAPTOP)
    assert page.locator("#scale1 label, #scale1 span").first.inner_text().startswith("Adapter style")
    page.fill("#scale2 input[type=number]", "1.25")
    page.press("#scale2 input[type=number]", "Tab")
    (address,) = make(page, "a red cat")
    _, recipe = picture(with_adapters, address)
    assert recipe["weights"]["scale"] == [1.0, 1.25]  # type: ignore[index]
    assert "scale+2=1.25" in page.url or "scale%202=1.25" in page.url
    page.reload()
    page.wait_for_selector("#scale2 input[type=number]")
    page.wait_for_function("document.querySelector('#scale2 input[type=number]').value === '1.25'")
    assert page.problems == [] or all(url.startswith(("data:", "blob:")) for url in page.problems)  # type: ignore[attr-defined]
    page.context.close()


# -- the page ----------------------------------------------------------------------------------------------------------


def painted(page: "Page") -> None:
    """A stroke over the upper left quarter of the picture."""
    canvas = page.locator("#begin-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.1 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.4 * box["height"], steps=6)
    page.mouse.up()


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_a_picture_is_chosen_painted_over_and_left_out(
    browser: Any, server: Server, tmp_path: Path, size: dict[str, int]
) -> None:
    (tmp_path / "photo.png").write_bytes(photo())
    page = opened(browser, server, size)
    page.click("details.begin summary")
    page.set_input_files("#begin-file", tmp_path / "photo.png")
    page.wait_for_selector("#begin-board:not([hidden])")
    (address,) = make(page, "a red cat")
    _, recipe = picture(server, address)
    assert recipe["strength"] == 0.75 and "mask" not in recipe
    page.locator("#begin-strength").fill("0.5")
    painted(page)
    (address,) = make(page, "a red cat")
    _, recipe = picture(server, address)
    assert recipe["strength"] == 0.5
    with Image.open(recipe["mask"]["path"]) as mask:  # type: ignore[index]
        grey = np.asarray(mask.convert("L"))
    assert grey.shape == (80, 120) and grey[16, 24] == 255 and grey[70, 100] == 0 and 0.03 < (grey > 127).mean() < 0.4
    page.click("#stage details summary")
    assert "strength 0.5, where the mask is white" in page.inner_text("#stage details")
    page.click("#begin-clear")
    (address,) = make(page, "a red cat")
    assert "mask" not in picture(server, address)[1]
    page.click("#begin-leave")
    (address,) = make(page, "a red cat")
    assert "image" not in picture(server, address)[1]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.context.close()


def test_a_made_picture_is_begun_from_and_a_wrong_file_is_told(browser: Any, server: Server, tmp_path: Path) -> None:
    page = opened(browser, server, LAPTOP)
    (first,) = make(page, "a red cat")
    page.click("#stage .begin-from")
    page.wait_for_selector("#begin-board:not([hidden])")
    (address,) = make(page, "a blue dog")
    _, recipe = picture(server, address)
    assert Path(recipe["image"]["path"]).name == first.rpartition("/")[2]  # type: ignore[index]
    (tmp_path / "words.png").write_text("no picture")
    page.set_input_files("#begin-file", tmp_path / "words.png")
    page.wait_for_selector("#begin-note.wrong")
    assert page.inner_text("#begin-note").startswith("The picture cannot be used (unreadable")
    (address,) = make(page, "a blue dog")
    assert "image" not in picture(server, address)[1], "a picture that was not taken is not drawn from"
    page.context.close()


def test_weights_of_words_are_chosen_on_the_page(browser: Any, server: Server) -> None:
    page = opened(browser, server, LAPTOP)
    (plain,) = make(page, "a (red)1.5 cat")
    page.click("#weights input")
    (weighted,) = make(page, "a (red)1.5 cat")
    assert picture(server, weighted)[1]["cfg"]["prompt_weights"] is True  # type: ignore[index]
    assert not np.array_equal(picture(server, plain)[0], picture(server, weighted)[0])
    assert "prompt_weights=true" in page.url
    page.fill("#prompt textarea", "a (red:1.5) cat")
    page.eval_on_selector_all("#stage .notice", "notices => notices.forEach(old => old.classList.add('old'))")
    page.click("#make")
    page.wait_for_selector("#stage .notice.error:not(.old)")
    assert "write (red)1.5" in page.inner_text("#stage .notice.error")
    page.context.close()


def test_recipes_are_json_that_names_no_more_than_it_says(server: Server) -> None:
    """A picture from noise says nothing of one to begin from."""
    newest = server.ask().headers["X-Pictures"].rpartition("/")[2]
    recipe = json.loads((server.folder / "images" / newest).with_suffix(".json").read_text())
    assert not {"image", "mask", "strength"} & set(recipe)
