"""Turns Debian's openclipart packages (public domain) into a captioned image folder for `dataset=openclipart`.

With root:     apt-get install openclipart-png openclipart-svg
               python tools/openclipart.py
Without root:  apt-get download openclipart-png openclipart-svg
               for deb in openclipart-*.deb; do dpkg -x $deb openclipart; done
               python tools/openclipart.py --png openclipart/usr/share/openclipart/png \
                                           --svg openclipart/usr/share/openclipart/svg

Each drawing is composited on white, trimmed, centred on a white square of at most 512 pixels, and captioned from the
title and keywords in the RDF of its SVG. Copies (the packages file many drawings twice) become one image.
"""

import argparse
import hashlib
import html
import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

SHARE = Path("/usr/share/openclipart")
MAX_PIXELS = 64_000_000  # a dozen road signs have 168 to 623 million pixels
FOLDERS = ("animals", "transportation", "food", "recreation")

# The longest folder that matches names the domain; road signs and map symbols are told by their keywords.
DOMAINS = {
    "animals": "animal",
    "transportation": "vehicle",
    "transportation/aiga-symbols": "sign",
    "transportation/roadsigns": "sign",
    "food": "food",
    "recreation": "recreation",
    "recreation/games": "game",
    "recreation/holiday": "holiday",
    "recreation/music": "music",
    "recreation/party": "holiday",
    "recreation/sports": "sports",
    "recreation/toys": "toy",
    "people": "person",
    "plants": "plant",
    "buildings": "building",
    "electronics": "electronic",
    "tools": "tool",
    "office": "office",
}
DOMAIN_KEYWORDS = {"roadsign": "sign", "mapsym": "sign", "sports": "sports"}
# 245 nearly equal playing cards, and diagrams full of letters.
EXCLUDED = ("recreation/games/cards/", "transportation/boating/boating_rules", "transportation/boating/knot_")

# Titles are partly Italian or French: the noun is translated, the rest of such a title dropped.
GLOSSARY = dict(
    pair.split("=")
    for pair in """
    abeille=bee acquila=eagle aglio=garlic ambulans=ambulance anelli=rings antilope=antelope aquila=eagle
    bicicletta=bicycle bottiglia=bottle canguro=kangaroo cani=dogs cartes=playing_cards cavalletta=grasshopper
    cavallo=horse cavalli=horses champignon=mushroom cigni=swans cigno=swan coccinella=ladybug coccinelle=ladybug
    coccinellona=ladybug coniglio=rabbit cronometro=stopwatch dino=dinosaur dinosauri=dinosaurs dinosauro=dinosaur
    elefante=elephant farfalla=butterfly farfalle=butterflies flamand=flamingo formichina=ant formicona=ant
    frullatore=blender fuoco=fire gabbiano=gull gallo=rooster gateau=cake gattina=kitten gatto=cat gatti=cats
    gauffre=waffle gelato=ice_cream glace=ice_cream gufo=owl insetto=insect lattine=cans leone=lion libellula=dragonfly
    libellule=dragonfly libro=book lucchetto=padlock lucertola=lizard lucertolona=lizard lucertolone=lizard
    lumaca=snail macchina=coffee_machine mante=mantis mantide=mantis mostriciattolo=monster
    mostriciattolo2=monster moschito=mosquito orme=footprints orso=bear ours=bear pacco=gift palloncini=balloons
    pallone=balloon pasteque=watermelon pecora=sheep peperoncino=pepper pera=pear pesca=peach pescetto=fish
    pinguino=penguin pollo=chicken pomodori=tomatoes porcinet=piglet prugna=plum punaisa=bug ragnetto=spider
    ragno=spider ramarro=lizard rana=frog ravanello=radish rondelle=orange_slice stambecco=ibex tacchino=turkey
    tartaruga=turtle tazza=cup teiera=teapot televisore=television tigre=tiger tigri=tigers topo=mouse toro=bull
    torta=cake trattore=tractor uccelli=birds uccello=bird vacca=cow vino=wine voiture=car zanzara=mosquito
    zucca=pumpkin simbolo=symbol paesaggio=landscape amibe=amoeba applf=apple baloon=balloon bambi=deer
    basebalm=baseball beethoveo=Beethoven bluewhale=blue_whale bobi=dog bofish=fish croche=quaver cuppa=cup_of_tea
    cymru=flag_of_Wales djambf=drum hikinh=hiker kubek=mug_of_tea lã=lizard mechorse=robot_horse mhooo=cow pudim=pudding
    shaezy=sheep skoynk=rabbit sportcar=sports_car squeek=pig tux=penguin tpt=trumpet volleball=volleyball vtt=bicycle
    """.split()
)
FOREIGN = {"di", "della", "del", "delle", "nella", "nelle", "col", "dei", "degli", "il", "la", "le", "si", "da", "du"}
# Keywords that say nothing about what is seen.
MEANINGLESS = {
    *"architetto francesco rollandin unsorted shape hash t vegitable animali animale felini felino noze skewl".split(),
    *"transport transportation roadtravel airtravel recreation entertainment activities musicstuff menu".split(),
    *"mapsym musicsym religholiday openclipart signs_and_symbols clip_art collection icon fest".split(),
    *"carbohydrate protein animals mammals bugs cochon pesce karetka pogotowia networksym squeleton".split(),
}
RESPELLED = {"roadsign": "road sign", "toothedwhale": "toothed whale", "icecream": "ice cream"}
COLOURS = {"black", "white", "red", "green", "blue", "yellow", "pink", "orange", "brown", "grey", "gray", "purple"}
UNCOUNTED = {
    *"bacon bread butter candy food cheese chess chocolate coffee corn garlic honey jazz judo karate".split(),
    *"fire lasagna lemonade meat milk pasta rice rugby salad soup tea tennis tetris toast water wine".split(),
}
NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "cc": "http://web.resource.org/cc/",
}


class Skipped(Exception):
    """A drawing that the folder does without, and why."""


@dataclass(frozen=True)
class Facts:
    """What an SVG says about itself: title, creator and keywords of its RDF, and whether it links to other files."""

    title: str = ""
    creator: str = ""
    keywords: tuple[str, ...] = ()
    links: bool = False


def facts_of(svg: Path) -> Facts:
    """The facts of an SVG, empty where it has none."""
    try:
        root = ElementTree.parse(svg).getroot()
    except (OSError, ElementTree.ParseError):
        return Facts()
    images = root.iter("{http://www.w3.org/2000/svg}image")
    links = any(not image.get("{http://www.w3.org/1999/xlink}href", "data:").startswith("data:") for image in images)
    work = root.find(".//cc:Work", NAMESPACES)
    if work is None:
        return Facts(links=links)
    keywords = [item.text or "" for item in work.findall("dc:subject/rdf:Bag/rdf:li", NAMESPACES)]
    creator = work.findtext("dc:creator/cc:Agent/dc:title", "", NAMESPACES) or ""
    title = work.findtext("dc:title", "", NAMESPACES) or ""
    return Facts(title.strip(), creator, tuple(keywords), links)


def words(text: str) -> list[str]:
    """Lower-case words of a title or file name, without numbering, version and black-and-white marks."""
    text = html.unescape(text).split(" | ")[0]
    text = re.sub(r"(?i)\b3d\b|\bb\W?(and|&|amp|_)?\W*w\b|[_ ]bw(?=[_ ]|$)|[-_]md\b|-?v\d[\d.]*", " ", text)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    inner = re.findall(r"\(([^()]*)\)", text)
    text = re.sub(r"\([^()]*\)", " ", text)
    short = [part.split() for part in inner if len(part.split()) <= 2]
    front = [word for part in short for word in part if word.lower() in COLOURS]
    back = [word for part in short for word in part if word.lower() not in COLOURS]
    tokens = re.findall(r"[^\W_]+(?:'[^\W_]+)?", " ".join([*front, text, *back]).lower())
    tokens = [re.sub(r"(?<=[^\W\d_])\d+$", "", token) for token in tokens]
    while len(tokens) > 1 and tokens[-1].isdigit():
        tokens.pop()
    while len(tokens) > 1 and tokens[-1] in ("simple", "shaded", "colour", "color", "icon"):
        tokens.pop()
    if len(tokens) > 1 and tokens[-1] in COLOURS and tokens[0] not in COLOURS:
        tokens = [tokens[-1], *tokens[:-1]]
    return [token for token in tokens if not re.fullmatch(r"0\d+", token)]


def without_author(tokens: list[str], creator: str) -> list[str]:
    """File names end with the author's name, cut somewhere: drops words that begin one of the author's."""
    names = re.findall(r"[^\W\d_]+", creator.lower())
    return [token for token in tokens if not any(name.startswith(token) for name in names)]


def subject(title: str, stem: str, creator: str, keywords: list[str], collection: bool) -> str:
    """What the drawing shows, in a few English words; raises Skipped when nothing says it."""
    tokens = without_author(words(title), creator)
    file = without_author(words(stem), creator)
    if collection or not any(len(token) > 2 and token in stem.lower() for token in tokens):
        tokens = [token for token in file if token not in ("aiga", "contour", "sport", "romus", "ganson")]
    known = [GLOSSARY[token] for token in tokens if token in GLOSSARY]
    if known:
        return known[0].replace("_", " ")
    foreign = "architetto" in creator.lower() or bool(FOREIGN & set(tokens))
    # "Rhinoceros" by an Italian author stands; a longer title without a known noun is not English.
    if tokens and not (foreign and len(tokens) > 1) and any(len(token) > 2 for token in tokens):
        named = tokens[1:2] == ["the"] and len(tokens) > 2  # "Copper the Beagle"
        return " ".join(tokens[2 if named else 0 :][:8])
    if keywords:
        return keywords[0]
    raise Skipped("nothing says what it shows")


def useful(keywords: tuple[str, ...], creator: str) -> list[str]:
    """English keywords in their order: without numbers, hashes, names and words that describe no picture."""
    author = creator.lower()
    kept = []
    for keyword in (" ".join(html.unescape(keyword).lower().split()) for keyword in keywords):
        plain = re.fullmatch(r"[a-z][a-z' -]{1,14}", keyword) and len(keyword.split()) <= 2
        if plain and keyword not in MEANINGLESS and keyword not in GLOSSARY and keyword not in author:
            kept.append(RESPELLED.get(keyword, keyword))
    return list(dict.fromkeys(kept))


def phrase(what: str) -> str:
    """`what` with the article that it needs: "a lion", "an owl on branch", "grapes", "bread"."""
    first, *_ = what.split()
    head = re.split(r" (?:of|with|on|in|at|from|for|and|plays?|driving|drawn) ", what)[0].split()[-1]
    plural = (head.endswith("s") and not head.endswith(("ss", "us", "is", "os"))) or head in ("sheep", "people")
    if first in ("a", "an", "the", "two", "three", "some") or first.isdigit() or (plural and head != "sheep"):
        return what
    if head in UNCOUNTED:
        return what
    return f"{'an' if first[0] in 'aeiou' and not first.startswith(('uni', 'eu', 'one')) else 'a'} {what}"


def captions(what: str, keywords: list[str], domain: str, grey: bool) -> list[str]:
    """Three plain captions of one drawing."""
    thing = phrase(what)
    more = [keyword for keyword in keywords if keyword not in what][:4] or [domain]
    third = f"a black and white drawing of {thing}" if grey else f"clip art of {thing} on a white background"
    return [f"a drawing of {thing}", ", ".join([thing, *more]), third]


def draw(path: Path, size: int) -> tuple[bytes, bool]:
    """The drawing as a square RGB PNG on white, and whether it has no colours; raises Skipped."""
    with Image.open(path) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Skipped(f"more than {MAX_PIXELS:,} pixels")
        image.thumbnail((2 * size, 2 * size), Image.Resampling.LANCZOS, reducing_gap=2.0)
        layer = image.convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    ink = ImageChops.difference(picture, Image.new("RGB", picture.size, "white")).convert("L")
    box = ink.point([0] * 9 + [255] * 247).getbbox()
    if box is None:
        raise Skipped("nothing is seen on white")
    picture = picture.crop(box)
    if min(picture.size) < 8:
        raise Skipped("smaller than 8 pixels")
    side = min(size, round(1.08 * max(picture.size)))
    inner = round(side / 1.08)
    scale = inner / max(picture.size)
    if scale < 1:
        width, height = (max(1, round(scale * length)) for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    chroma = np.ptp(np.asarray(picture, np.int16), axis=2)
    file = BytesIO()
    square.save(file, "PNG")
    return file.getvalue(), bool((chroma > 24).mean() < 0.01)


def attempt(path: Path, size: int) -> tuple[bytes, bool] | str:
    """`draw` for a pool: the reason instead of the exception."""
    try:
        return draw(path, size)
    except Skipped as reason:
        return str(reason)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return f"unreadable ({type(error).__name__})"


def domain_of(name: str, keywords: tuple[str, ...]) -> str:
    """The domain of a drawing from its folder, or from keywords that know better."""
    for keyword, domain in DOMAIN_KEYWORDS.items():
        if keyword in keywords and not name.startswith("animals/"):
            return domain
    folders = [folder for folder in DOMAINS if name.startswith(folder + "/")]
    return DOMAINS[max(folders, key=len)] if folders else name.split("/")[0]


def convert(png: Path, svg: Path, output: Path, folders: list[str], size: int) -> Counter[str]:
    """Writes `output` (images by domain and metadata.jsonl); returns how many drawings met which end."""
    names = [path.relative_to(png).as_posix() for folder in folders for path in (png / folder).rglob("*.png")]
    # Copies lie in a general and in a special folder: the deepest one comes first and names the domain.
    names = sorted((name for name in names if not name.startswith(EXCLUDED)), key=lambda name: (-name.count("/"), name))
    facts = {name: facts_of((svg / name).with_suffix(".svg")) for name in names}
    stems = defaultdict(set)
    for name, fact in facts.items():
        stems[fact.title].add(" ".join(without_author(words(Path(name).stem), fact.creator)))
    ends: Counter[str] = Counter()
    rows: dict[str, dict] = {}
    Image.MAX_IMAGE_PIXELS = None  # `draw` looks at the header itself
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        drawn = pool.map(partial(attempt, size=size), [png / name for name in names], chunksize=8)
        for name, result in zip(names, drawn, strict=True):
            fact = facts[name]
            if isinstance(result, str):
                ends[f"skipped: {result}"] += 1
                continue
            if fact.links:
                ends["skipped: links to a picture that is not there"] += 1
                continue
            content = hashlib.sha256(result[0]).hexdigest()
            if content in rows:
                ends["copy of another"] += 1
                continue
            domain, keywords = domain_of(name, fact.keywords), useful(fact.keywords, fact.creator)
            collection = len(stems[fact.title]) >= 5 or fact.title.lower().startswith("clipart by")
            try:
                what = subject(fact.title, Path(name).stem, fact.creator, keywords, collection)
            except Skipped as reason:
                ends[f"skipped: {reason}"] += 1
                continue
            file = f"{domain}/{Path(name).stem}-{content[:6]}.png"
            (output / domain).mkdir(parents=True, exist_ok=True)
            (output / file).write_bytes(result[0])
            texts = captions(what, keywords, domain, result[1])
            origin = {"source": name, "title": fact.title, "creator": fact.creator, "license": "public domain"}
            rows[content] = {"file_name": file, "text": texts, "domain": domain, **origin}
            ends[f"kept: {domain}"] += 1
    lines = [json.dumps(row, ensure_ascii=False) for row in sorted(rows.values(), key=lambda row: row["file_name"])]
    (output / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ends


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--png", type=Path, default=SHARE / "png", help="folder of openclipart-png (default: %(default)s)"
    )
    parser.add_argument(
        "--svg", type=Path, default=SHARE / "svg", help="folder of openclipart-svg (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=Path("data/openclipart"), help="default: %(default)s")
    parser.add_argument("--folders", nargs="+", default=list(FOLDERS), help="default: %(default)s")
    parser.add_argument("--size", type=int, default=512, help="largest side in pixels (default: %(default)s)")
    arguments = parser.parse_args()
    for folder in [arguments.png, arguments.svg, *(arguments.png / name for name in arguments.folders)]:
        if not folder.is_dir():
            print(f"{folder} does not exist: install or extract the packages first (see --help).", file=sys.stderr)
            return 1
    if arguments.output.exists():
        print(f"{arguments.output} is there already: remove it, or type another --output.", file=sys.stderr)
        return 1
    partial_output = arguments.output.with_name(f".{arguments.output.name}.partial")
    shutil.rmtree(partial_output, ignore_errors=True)
    partial_output.mkdir(parents=True)
    ends = convert(arguments.png, arguments.svg, partial_output, arguments.folders, arguments.size)
    partial_output.rename(arguments.output)
    for end, count in sorted(ends.items()):
        print(f"{count:6} {end}")
    print(f"wrote {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
