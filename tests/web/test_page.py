"""The page as a person uses it, in headless Chromium."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from .conftest import Server, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WAIT = 60_000
LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


def opened(browser: "Browser", server: Server, size: dict[str, int]) -> "Page":
    """The page in a fresh profile; what it asks of other machines, and its script errors, are failures."""
    page = browser.new_context(viewport=size, accept_downloads=True).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(WAIT)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if not request.url.startswith(server.url) else None)
    page.goto(server.url)
    page.wait_for_selector("#make")
    page.problems = problems  # type: ignore[attr-defined]
    return page


@pytest.fixture
def page(browser: "Browser", server: Server) -> "Iterator[Page]":
    laptop = opened(browser, server, LAPTOP)
    yield laptop
    outside = [url for url in laptop.problems if not url.startswith(("data:", "blob:"))]  # type: ignore[attr-defined]
    laptop.context.close()
    assert outside == []


def make(page: "Page", prompt: str = "a red cat", model: str = "Tuned", **numbers: int) -> list[str]:
    """Type, choose, press the button, and wait; the addresses of the pictures."""
    page.fill("#prompt textarea", prompt)
    page.click(f"#model label:has-text('{model}')")
    for name, value in numbers.items():
        set_number(page, name, value)
    # What the page said before is not the answer.
    page.eval_on_selector_all("#stage .notice", "notices => notices.forEach(old => old.classList.add('old'))")
    page.click("#make")
    page.wait_for_selector("#stage .notice:not(.old)")
    return page.eval_on_selector_all("#stage .card img", "images => images.map(image => image.src)")


def set_number(page: "Page", name: str, value: int) -> None:
    if name == "size":
        set_number(page, "width", value)
        name = "height"
    page.fill(f"#{name} input[type=number]", str(value))
    page.press(f"#{name} input[type=number]", "Tab")


def picture(server: Server, address: str) -> tuple[np.ndarray, dict[str, object]]:
    """Pixels and recipe behind an address on the page."""
    image = Image.open(server.folder / "images" / address.rpartition("/")[2])
    return np.asarray(image), json.loads(image.text["t2i"])  # type: ignore[attr-defined]


def test_a_typed_prompt_becomes_a_picture_and_guidance_changes_it(page: "Page", server: Server) -> None:
    (address,) = make(page, "a red cat on a beach", guidance=2)
    first, recipe = picture(server, address)
    assert (recipe["prompt"], recipe["cfg"]["scale"]) == ("a red cat on a beach", 2.0)  # type: ignore[index]
    page.wait_for_function("document.querySelector('#stage .card img').naturalWidth === 64")  # loaded, at its own size
    (address,) = make(page, "a red cat on a beach", guidance=9)
    second, recipe = picture(server, address)
    assert recipe["cfg"]["scale"] == 9.0  # type: ignore[index]
    assert np.abs(first.astype(int) - second).max() > 10
    assert page.locator("#shelf .past").count() == 2


def test_base_and_tuned_stand_side_by_side_with_one_seed(page: "Page", server: Server) -> None:
    addresses = make(page, model="Both", seed=5)
    assert page.locator("#stage h2").all_inner_texts() == ["Base", "Tuned"]
    (base, of_base), (tuned, of_tuned) = (picture(server, address) for address in addresses)
    assert (of_base["seed"], of_base["weights"]) == (5, None)
    assert of_tuned["seed"] == 5 and of_tuned["weights"] is not None
    assert np.abs(base.astype(int) - tuned).max() > 10
    left, right = (page.locator("#stage .card img").nth(i).bounding_box() for i in (0, 1))
    assert left and right and left["y"] == right["y"] and left["x"] + left["width"] < right["x"]


def test_the_runs_numbers_stand_beside_the_model(page: "Page") -> None:
    row = page.locator("#measured tr:has-text('FID')").inner_text()
    assert re.sub(r"\s+", " ", row) == "FID tiny_clip lower is better 140 [128, 153] 59.5 [53.5, 65.7]"
    assert "tuned: 12-00-00_pipeline_abcdef" in page.locator(".t2i-header").inner_text()


def test_a_long_job_shows_previews_and_can_be_cancelled(page: "Page", server: Server) -> None:
    page.fill("#prompt textarea", "a red cat")
    set_number(page, "steps", 100)
    set_number(page, "size", 512)
    page.click("#make")
    page.wait_for_selector("#stage .making img")
    assert page.get_attribute("#stage .making img", "src").startswith("data:image/jpeg;base64,")  # type: ignore[union-attr]
    assert re.fullmatch(r"step \d+ of \d+", page.inner_text("#stage .progress"))
    page.click("#cancel")
    page.wait_for_selector("#stage .notice")
    assert re.match(r"Cancelled at step \d+ of 200\.", page.inner_text("#stage .notice"))
    start = time.monotonic()
    assert server.ask().status_code == 200
    assert time.monotonic() - start < 20


def test_closing_the_page_frees_the_model(browser: "Browser", server: Server) -> None:
    page = opened(browser, server, LAPTOP)
    page.fill("#prompt textarea", "a red cat")
    set_number(page, "steps", 100)
    set_number(page, "size", 512)
    page.click("#make")
    page.wait_for_selector("#stage .making img")
    answered = server.health()["answered"]
    page.context.close()
    start = time.monotonic()
    assert server.ask().status_code == 200
    assert time.monotonic() - start < 20
    assert server.health()["answered"] == answered + 1


def test_an_open_page_finds_a_server_that_was_started_again(browser: "Browser", tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    with serving(tmp_path / "first", "scheduler.steps=2") as first:
        page = opened(browser, first, LAPTOP)
        page.fill("#prompt textarea", "a red cat")
        set_number(page, "steps", 100)
        set_number(page, "size", 512)
        page.click("#make")
        page.wait_for_selector("#stage .making img")
        first.process.kill()
        first.process.wait()
    with serving(tmp_path / "second", f"serve.port={first.host[1]}", "scheduler.steps=2") as second:
        page.wait_for_function("document.querySelector('#stage .making') === null && document.querySelector('#make')")
        page.wait_for_selector("#make")
        page.fill("#prompt textarea", "a blue dog")
        set_number(page, "size", 64)
        page.click("#make")
        page.wait_for_selector("#stage .card img")
        until = time.monotonic() + 60
        while not list((second.folder / "images").glob("*.png")) and time.monotonic() < until:
            time.sleep(0.2)
        assert len(list((second.folder / "images").glob("*.png"))) == 1
    page.context.close()


def test_the_download_is_the_png_with_its_recipe(page: "Page", tmp_path: Path) -> None:
    make(page, seed=9)
    with page.expect_download() as started:
        page.click("#stage a.download")
    path = tmp_path / "picture.png"
    started.value.save_as(path)
    with Image.open(path, formats=["PNG"]) as image:
        assert json.loads(image.text["t2i"])["seed"] == 9  # type: ignore[attr-defined]


def test_a_grid_has_a_cell_for_every_scheduler_and_scale(page: "Page", server: Server) -> None:
    page.fill("#prompt textarea", "a red cat")
    page.click("#grid button")
    page.fill("#scales textarea, #scales input", "1, 4, 9")
    page.click("#draw")
    page.wait_for_selector("#stage .notice")
    assert page.locator("#stage table.grid th[scope=row]").all_inner_texts() == ["ddim", "euler", "dpmpp_2m"]
    addresses = page.eval_on_selector_all("#stage table.grid img", "images => images.map(image => image.src)")
    recipes = [picture(server, address)[1] for address in addresses]
    cells = [(recipe["scheduler"]["name"], recipe["cfg"]["scale"]) for recipe in recipes]  # type: ignore[index]
    assert cells == [(name, scale) for name in ("ddim", "euler", "dpmpp_2m") for scale in (1.0, 4.0, 9.0)]


def value(page: "Page", name: str) -> str:
    return page.input_value(f"#{name} input[type=number]")


def test_width_and_height_are_apart(page: "Page", server: Server) -> None:
    (address,) = make(page, width=96, height=64)
    pixels, recipe = picture(server, address)
    assert pixels.shape == (64, 96, 3) and (recipe["resolution"], recipe["height"]) == (96, 64)
    set_number(page, "size", 1024)  # the widest number fits into its field
    for name in ("width", "height"):
        field = page.locator(f"#{name} input[type=number]")
        assert field.evaluate("field => field.scrollWidth <= field.clientWidth")


def test_choosing_a_scheduler_sets_its_steps_and_guidance(page: "Page") -> None:
    for name, steps, guidance in (("lcm", "4", "1.5"), ("ddpm", "100", "7.5"), ("dpmpp_2m", "4", "7.5")):
        page.click("#scheduler input")
        page.click(f"ul[role=listbox] li[aria-label='{name}']")
        page.wait_for_function(f"document.querySelector('#steps input[type=number]').value === '{steps}'")
        assert value(page, "guidance") == guidance


def test_settings_are_in_the_address_and_pictures_come_back_after_a_reload(page: "Page", server: Server) -> None:
    make(page, "a red & blue cat", seed=12, width=72, steps=3)
    page.wait_for_function("window.location.search.includes('seed=12') && window.location.search.includes('steps=3')")
    page.wait_for_function("(sessionStorage.getItem('t2i-pictures') || '').includes('.png')")
    before = page.locator("#shelf .past img").get_attribute("src")
    page.reload()
    page.wait_for_selector("#shelf .past img")
    assert page.locator("#shelf .past img").get_attribute("src") == before
    page.click("#shelf .past summary")
    assert "a red & blue cat" in page.inner_text("#shelf .past dl") and "72 x 64" in page.inner_text("#shelf .past dl")
    assert page.input_value("#prompt textarea") == "a red & blue cat"
    assert [value(page, name) for name in ("seed", "width", "height", "steps")] == ["12", "72", "64", "3"]
    make(page, seed=13)  # and the new one stands before the old one
    page.wait_for_function("document.querySelectorAll('#shelf .past').length === 2")


def test_an_address_with_wrong_settings_is_an_ordinary_page(page: "Page", server: Server) -> None:
    wrong = (
        "steps=abc&seed=-1&width=65&guidance=99&scheduler=nope&model=%3Cscript%3E&pictures=3&prompt=%3Cb%3Ea&count=3"
    )
    page.goto(f"{server.url}?{wrong}")
    page.wait_for_function("document.querySelector('#prompt textarea')?.value === '<b>a'")
    assert [value(page, name) for name in ("steps", "seed", "width", "pictures")] == ["4", "0", "64", "3"]


def test_what_was_typed_before_everything_was_loaded_stays(page: "Page", server: Server) -> None:
    page.goto(f"{server.url}?seed=12")
    page.wait_for_selector("#make")
    typed = page.evaluate("() => t2i.read(Array.from({length: 20}, (_, i) => `typed ${i}`)).map(String)")
    assert typed.count("12") == 1
    assert [own for own in typed if own != "12"] == [f"typed {i}" for i in range(len(typed)) if typed[i] != "12"]


def test_words_beyond_the_token_limit_are_told(page: "Page") -> None:
    make(page, " ".join(f"red{number}" for number in range(30)) + " Zebra")
    told = page.inner_text("#stage .notice.cut")
    assert re.fullmatch(r'The prompt has \d+ tokens, and 32 are read\. Cut: "red\d+ .* Zebra"\.', told)
    make(page, "a red cat")
    assert page.locator("#stage .notice.cut").count() == 0


def test_what_is_typed_is_shown_and_not_run(page: "Page") -> None:
    hostile = '<img src=x onerror="window.hacked=1"> ${window.hacked=1} {{window.hacked=1}} <script>hacked=1</script>'
    make(page, hostile)
    page.click("#stage summary")
    assert page.inner_text("#stage dd >> nth=0") == hostile
    assert page.evaluate("window.hacked") is None


def test_the_page_says_what_is_wrong_in_one_sentence(page: "Page") -> None:
    assert make(page, size=65) == []
    assert page.inner_text("#stage .notice") == "width is 65; use 64 to 1024 in steps of 8."
    set_number(page, "size", 64)
    assert make(page, " ") == []
    assert page.inner_text("#stage .notice") == "prompt is empty; say what the picture should show."


def test_nothing_is_cut_off_on_a_phone(browser: "Browser", server: Server) -> None:
    page = opened(browser, server, PHONE)
    make(page, model="Both")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    stage, settings = page.locator(".stage").bounding_box(), page.locator(".settings").bounding_box()
    assert stage and settings and stage["y"] < settings["y"]  # the answer comes right below the question
    page.context.close()
