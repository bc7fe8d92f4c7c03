"""tools/openclipart.py: captions in plain English, square drawings on white, copies only once."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2i.data.sources.folder import Folder

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from tools import openclipart  # noqa: E402

SVG = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{body}<metadata><rdf:RDF
 xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><cc:Work><dc:title>{title}</dc:title><dc:subject><rdf:Bag>
 {keywords}</rdf:Bag></dc:subject><dc:creator><cc:Agent><dc:title>{creator}</dc:title></cc:Agent></dc:creator></cc:Work>
 </rdf:RDF></metadata></svg>"""


def drawing(root: Path, name: str, colour: str, title: str, keywords: str, creator: str = "", body: str = "") -> None:
    """A disc on a transparent ground, 60 x 40 in the middle of 200 x 100, with its SVG."""
    png, svg = root / "png" / f"{name}.png", root / "svg" / f"{name}.svg"
    png.parent.mkdir(parents=True, exist_ok=True)
    svg.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGBA", (200, 100))
    image.paste(colour, (70, 30, 130, 70))
    image.save(png)
    items = "".join(f"<rdf:li>{keyword}</rdf:li>" for keyword in keywords.split(","))
    svg.write_text(SVG.format(title=title, keywords=items, creator=creator, body=body))


@pytest.fixture
def packages(tmp_path):
    drawing(tmp_path, "animals/leone_architetto_01", "#c80", "Leone 01", ",mammal,feline", "Architetto Francesco")
    drawing(tmp_path, "animals/owl_ganson", "#000", "Owl on Branch", "owl,animal,bird,hash(0x1f)", "Ganson")
    drawing(tmp_path, "animals/birds/owl_ganson", "#000", "Owl on Branch", "owl,bird", "Ganson")
    drawing(tmp_path, "transportation/bus_lane", "#00f", "Road Signs", "transport,roadsign")
    drawing(tmp_path, "food/broken", "#0f0", "Soup", "food", body='<image xlink:href="file:///soup.jpg"/>')
    drawing(tmp_path, "food/blank", "#fff", "Milk", "food")
    (tmp_path / "png/recreation").mkdir()
    return tmp_path


def run(packages: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools/openclipart.py", "--png", packages / "png", "--svg", packages / "svg"]
    return subprocess.run([*command, "--output", packages / "out", *arguments], capture_output=True, text=True)


def test_packages_become_a_folder_that_the_source_reads(packages):
    done = run(packages)
    assert done.returncode == 0, done.stderr
    rows = {row["source"]: row for row in map(json.loads, (packages / "out/metadata.jsonl").read_text().splitlines())}
    assert {name: (row["domain"], row["text"]) for name, row in rows.items()} == {
        "animals/leone_architetto_01.png": (
            "animal",
            ["a drawing of a lion", "a lion, mammal, feline", "clip art of a lion on a white background"],
        ),
        "animals/birds/owl_ganson.png": (
            "animal",
            [
                "a drawing of an owl on branch",
                "an owl on branch, bird",
                "a black and white drawing of an owl on branch",
            ],
        ),
        "transportation/bus_lane.png": (
            "sign",
            ["a drawing of a bus lane", "a bus lane, road sign", "clip art of a bus lane on a white background"],
        ),
    }
    for line in ("1 copy of another", "1 skipped: links to a picture", "1 skipped: nothing is seen on white"):
        assert line in done.stdout
    with Image.open(packages / "out" / rows["transportation/bus_lane.png"]["file_name"]) as image:
        assert image.size == (65, 65) and image.mode == "RGB"  # the 60 pixels of the drawing and 8 % margin
        array = np.asarray(image)
    assert (array[32, 32] == (0, 0, 255)).all() and (array[0] == 255).all() and (array[:, 0] == 255).all()
    dataset = Folder(root=str(packages / "out"), domains=["animal"])
    assert len(dataset.samples("train")) + len(dataset.samples("held_out")) == 2


def test_an_existing_folder_is_never_overwritten(packages):
    (packages / "out").mkdir()
    done = run(packages)
    assert done.returncode == 1 and "is there already" in done.stderr


def test_missing_packages_are_one_sentence(packages):
    done = run(packages, "--folders", "plants")
    assert done.returncode == 1 and "png/plants does not exist" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("title", "stem", "creator", "collection", "expected"),
    [
        ("Labrador Retriever (Black)", "black_lab_ganson", "Ganson", False, "black labrador retriever"),
        ("B_W Tiger", "b_w_tiger_susan_park_01", "Susan Park", False, "tiger"),
        ("RedCar", "redcar_marcelo_caiafa_", "Marcelo Caiafa", False, "red car"),
        ("Copper the Beagle", "beagle_copper_ganson", "Ganson", False, "beagle"),
        ("Corn on the Cob", "corn_cob", "", False, "corn on the cob"),
        ("Etiquette Icons", "seahorse", "", True, "seahorse"),
        ("", "sheep-md-v0.1", "", False, "sheep"),
        ("Mirjam Meijer", "mirjam_meijer_mirjam_mei_01", "Mirjam Meijer", False, "flower"),
        ("2 dead frogs", "2_dead_frogs_lumen_desig_01", "Lumen Design", False, "2 dead frogs"),
        ("Tante orme sulla neve", "tante_orme_sulla_neve_ar_01", "Architetto", False, "footprints"),
    ],
)
def test_titles_become_plain_subjects(title, stem, creator, collection, expected):
    assert openclipart.subject(title, stem, creator, ["flower"], collection) == expected


@pytest.mark.parametrize(
    ("what", "expected"),
    [("lion", "a lion"), ("owl on branch", "an owl on branch"), ("grapes", "grapes"), ("bread", "bread")]
    + [("sheep", "a sheep"), ("bus", "a bus"), ("two red dice", "two red dice"), ("unicycle", "a unicycle")]
    + [("bowl of grapes", "a bowl of grapes"), ("rhinoceros", "a rhinoceros")],
)
def test_phrases_have_their_article(what, expected):
    assert openclipart.phrase(what) == expected
