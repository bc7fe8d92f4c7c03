"""Prompts from files, grids and wildcards."""

from pathlib import Path

import pytest

from t2i.errors import ConfigError
from t2i.sampling.prompts import cut_words, expand, from_file, told_cut, told_unknown


def test_alternatives_make_a_grid_in_reading_order() -> None:
    assert expand(["a {red|blue} {cat|dog}", "a bus"], None, 0) == [
        *("a red cat", "a red dog", "a blue cat", "a blue dog"),
        "a bus",
    ]
    assert expand(["a{| small} cat", "{not a grid}"], None, 0) == ["a cat", "a small cat", "{not a grid}"]


def test_wildcards_are_drawn_by_seed_and_place(tmp_path: Path) -> None:
    (tmp_path / "colour.txt").write_text("\n".join(f"c{i}" for i in range(50)))
    prompts = ["a __colour__ cat and a __colour__ dog"] * 4
    drawn = expand(prompts, str(tmp_path), 1)
    assert drawn == expand(prompts, str(tmp_path), 1) != expand(prompts, str(tmp_path), 2)
    assert len(set(drawn)) == 4 and all("__" not in prompt for prompt in drawn)
    assert drawn[:2] == expand(prompts[:2], str(tmp_path), 1)


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        (["a __colour__ cat"], "name the folder of colour.txt by wildcards="),
        (["{a|b}" * 17], "combine to more than 100,000"),
        (["{a|}"], "one of the prompts is empty"),
    ],
)
def test_prompts_that_cannot_be_meant(prompts: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        expand(prompts, None, 0)


def test_a_missing_or_empty_wildcard_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    for name, sentence in (("gone", "gone.txt cannot be read"), ("empty", "empty.txt is empty")):
        with pytest.raises(ConfigError, match=sentence):
            expand([f"a __{name}__"], str(tmp_path), 0)


def test_files_of_three_kinds(tmp_path: Path) -> None:
    contents = {
        "p.txt": "a cat\n\n a bus \n",
        "p.json": '["a cat", "a bus"]',
        "p.csv": "id,caption\n1,a cat\n2,a bus\n",
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
        assert from_file(tmp_path / name) == ["a cat", "a bus"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.txt", ""), ("a.json", "{}"), ("a.json", "[1]"), ("a.json", "["), ("a.csv", "x,y\n1,2\n"), ("gone.txt", None)],
)
def test_files_without_prompts_are_refused(tmp_path: Path, name: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=name.replace(".", r"\.")):
        from_file(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("suffix", ["txt", "csv", "json"])
def test_a_byte_order_mark_is_in_no_prompt(tmp_path, suffix, encoding):
    content = {"txt": "eine Tür, 猫\n", "csv": 'prompt,seed\n"eine Tür, 猫",1\n', "json": '["eine Tür, 猫"]'}[suffix]
    (tmp_path / f"p.{suffix}").write_text(content, encoding=encoding)
    assert from_file(tmp_path / f"p.{suffix}") == ["eine Tür, 猫"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.csv", "prompt\na cat, a dog\n", "p.csv, line 2: 2 cells for 1 column .prompt"),
        ("p.csv", 'prompt,seed\n"a cat,1\na dog,2\n', "p.csv, line 2: unexpected end of data"),
        ("p.csv", "prompt,prompt\na,b\n", "line 1: the header names 'prompt' twice"),
        ("p.csv", "prompt,seed\n,1\n", "p.csv, line 2: the prompt is empty"),
        ("p.txt", "eine Tür".encode("latin-1"), "p.txt, line 1: not UTF-8"),
        ("p.json", '["a"', "p.json: not JSON"),
    ],
)
def test_prompts_are_read_by_the_rules_of_every_table_and_text(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=words):
        from_file(tmp_path / name)


@pytest.mark.parametrize(
    ("words", "limit", "cut"), [(3, 5, ""), (4, 5, "w3"), (7, 5, "w3 w4 w5 w6"), (4, 2, "w0 w1 w2 w3")]
)
def test_words_are_cut_from_the_first_that_is_not_whole(words: int, limit: int, cut: str) -> None:
    prompt = " ".join(f"w{number}" for number in range(words))
    assert cut_words(prompt, lambda text: len(text.split()) + 2, limit) == cut  # start and end count


def test_a_long_tail_is_shortened_where_a_word_ends() -> None:
    told = told_cut("a " * 500, lambda text: len(text.split()) + 2, 77)
    assert told.startswith('The prompt has 502 tokens, and 77 are read. Cut: "a a ') and told.endswith(' a ...".')
    assert len(told) < 300 and told_cut("a cat", len, 77) == ""


@pytest.mark.parametrize(("prompts", "taught", "told"), [
    (["a photo of <rex> on the moon"], [],
     "<rex>: no word that the model was taught, and read in pieces; give a run that taught it by weights="),
    (["(<rex>)1.3 and <mia>", "<rex>"], ["<mia>", "<gus>"],
     "<rex>: no word that the model was taught, and read in pieces; weights= teach <mia>, <gus>"),
    (["<a>, <b>"], [], "<a>, <b>: no words that the model was taught, and read in pieces; give a run that taught it by weights="),
    ([" ".join(f"<{n}>" for n in range(9))], ["<x>"],
     "<0>, <1>, <2>, <3>, <4> and 4 more: no words that the model was taught, and read in pieces; weights= teach <x>"),
    (["<mia> and <own>"], ["<mia>"], ""),
    (["a cat < a dog > a bus", "5 <3 you"], [], ""),
])  # fmt: skip
def test_words_that_nothing_has_taught_are_told(prompts: list[str], taught: list[str], told: str) -> None:
    assert told_unknown(prompts, lambda: {"<own>", "cat</w>"}, taught) == told


def test_a_vocabulary_is_read_for_such_words_alone() -> None:
    assert told_unknown(["a cat"], lambda: pytest.fail("it was read"), []) == ""
