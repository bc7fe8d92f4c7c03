"""Every group, key and task typed wrongly in the usual ways: one sentence that says what to type, and that can be typed."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from t2i.arguments import check, flags_first
from t2i.config import CONF, SCHEMAS, Task, compose
from t2i.errors import ConfigError
from t2i.keys import Key, keys, options, sections
from t2i.named import EXISTING, READ_BY, check_task, missing
from t2i.quoting import MAPPINGS, PATHS, TEXT_LISTS, TEXTS, verbatim

from .conftest import PROJECT, SCENES, TOY, Ended, Lab

NAMES = sorted(keys())
GROUPS = sorted(SCHEMAS)


def value_for(key: Key) -> str:
    """A value of the right form."""
    forms = {"true": "true", "3": "3", "0.5": "0.5", "[a]": "[a]", "{a: 1}": "{a: 1}"}
    found = next((form for form in forms if key.takes(form)), None)
    members = [name for kind in key.kinds for name in getattr(kind, "__members__", ())]
    return members[0] if members else found or "abc"


def told(*arguments: str, multirun: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        check(verbatim(arguments, multirun), multirun)
    sentence = str(caught.value)
    assert "\n" not in sentence and "Error" not in sentence
    return sentence


def typed(sentence: str) -> list[str]:
    """What a sentence says to type, as a shell would hand it over."""
    words = re.split(r", (?:for|or)\b| or (?=[+\w.]+=)", sentence.rpartition("type ")[2])
    return [shlex.split(word)[0] for word in words if "<" not in word and "..." not in word]


@pytest.mark.parametrize("name", NAMES)
def test_a_key_typed_wrongly_is_told_as_it_should_be(name: str) -> None:
    value = value_for(keys()[name])
    right = f"{name}={value}"
    check(verbatim([right]))
    last = name.rpartition(".")[2]
    for wrong in ([f"--{right}"], [f"-{right}"], [f"--{name}", value], [f"{name}:{value}"], [name, "=", value], [name, value],
                  [f"{name}=={value}"], [f"{name} = {value}"]):  # fmt: skip
        if value.startswith("{") and wrong[0] == f"{name}:{value}":
            continue
        if wrong == [f"{name}=={value}"] and name in PATHS | TEXTS | {"dataset.links"}:
            continue  # which may begin with any letter
        sentence = told(*wrong)
        assert f"type {right}" in sentence, (wrong, sentence)
    for wrong_name in (last, f"nothing.{last}"):  # its parent is missing, or another
        if wrong_name not in {*keys(), *options(), *sections()}:
            sentence = told(f"{wrong_name}={value}")
            assert f"{wrong_name} is no key of the configuration" in sentence
            alike = [key for key in keys() if key.rpartition(".")[2] == last]
            assert any(key in sentence for key in alike) and (len(alike) > 6 or right in sentence), sentence
    misspelt = name[:-1] + "x" * (len(last) > 2)
    if misspelt not in keys() and misspelt not in options() and len(last) > 3:
        assert "did you mean" in told(f"{misspelt}={value}") or misspelt.rpartition(".")[2] in {
            key.rpartition(".")[2] for key in keys()
        }


@pytest.mark.parametrize("name", NAMES)
def test_several_values_without_m_are_told_how_they_are_typed(name: str) -> None:
    key = keys()[name]
    if name in PATHS or name in ("dataset.background", "dataset.caption", "cfg.negative_prompt"):
        return  # a comma is a part of them
    value = f"{value_for(key)},{value_for(key)}" if not key.several else "a,b"
    sentence = told(f"{name}={value}")
    if key.several:
        assert typed(sentence) == [f'{name}=["a,b"]' if name in TEXT_LISTS else f"{name}=[a,b]"]
        check(verbatim(typed(sentence)))
    else:
        assert f"for a run each type -m {name}={value}" in sentence and "for one run" in sentence
        check(verbatim([f"{name}={value}"], multirun=True), multirun=True)


@pytest.mark.parametrize("group", GROUPS)
def test_a_value_where_a_group_is_meant_is_told_its_key(group: str) -> None:
    below = [key for key in keys().values() if key.name.rpartition(".")[0] == group]
    for value in ("7.5", "30", "1e-4", "true", "/data/x", "abcdefgh"):
        sentence = told(f"{group}={value}")
        assert all(option in sentence for option in options()[group])
        for suggestion in typed(sentence) if "type " in sentence else []:
            check([suggestion])
            assert suggestion.partition("=")[0] in {key.name for key in below}
    for name in options()[group]:
        check([f"{group}={name}"])
        assert f"type {group}={name}" in told(f"{group}={name.upper()}")
        assert f"type {group}={name}" in told(f"{group}=conf/{group}/{name}.yaml")
        assert f"type {group}={name}" in told(f"--{group}={name}")
        assert f"type {group}={name}" in told(f"--{group}", name)
        assert f"{group}={name}" in told(name) or name in {task.value for task in Task}
        assert f"did you mean {group}=" in told(f"{group}={name}q") or len(name) < 3
    two = ",".join(options()[group][:2])
    assert f"type -m {group}={two}" in told(f"{group}={two}") and f"type -m {group}={two}" in told(f"{group}=[{two}]")
    assert "is unknown" in told(f"{group}={two},abcdefgh", multirun=True)


def test_what_people_wrote_is_told_what_they_meant() -> None:
    for wrong, right in {
        "cfg=7.5": "cfg.scale=7.5", "scheduler=30": "scheduler.steps=30", "model=/data/m": "model.source=/data/m",
        "dataset=/data/d": "dataset.root=/data/d", "training=100": "training.steps=100", "cfg={scale: 5}": "cfg.scale=5",
        "strategy=1e-4": "strategy.learning_rate=1e-4", "trainin.steps=5": "training.steps=5",
        "steps=100": "training.steps=100", "rank=8": "strategy.rank=8", "eval=100": "eval.images=100",
    }.items():  # fmt: skip
        assert typed(told(wrong))[0] == right


@pytest.mark.parametrize("task", [task.value for task in Task])
def test_a_task_alone_is_told_as_a_value(task: str) -> None:
    for wrong in (
        [task],
        [task[:-1] + "x"],
        ["task", task],
        ["--task", task],
        [f"--task={task}"],
        [f"task:{task}"],
        ["task:", task],
    ):
        assert "type task=" in told(*wrong), wrong
    assert f"type task={task}" in told(task) and f"type task={task}" in told("task=", task)


def test_presets_can_stand_on_each_other() -> None:
    check(["experiment=[coco_animals,coco30k]"])
    assert "did you mean experiment=coco_animals?" in told("experiment=[coco30k,coco_animal]")


def test_sections_and_flags() -> None:
    for section in sections():
        assert f"{section}=abcdefgh is not valid" in told(f"{section}=abcdefgh")
    assert "(did you mean --help?)" in told("--halp") and "-x is no flag" in told("-x")
    check(["--cfg", "job", "task=train"])
    check(["--cfg=job", "-h", "--info", "defaults", "~experiment", "hydra.verbose=true", "+dataset.keywords.cat=[cat]"])


def test_m_needs_something_to_vary() -> None:
    for arguments in ([], ["task=prepare"], ["prompts=[a]", "seed=3"]):
        assert told(*arguments, multirun=True).startswith("-m makes a run for every combination of values, and no")
    for argument in ("seed=1,2", "seed=range(1,3)", "scheduler='ddim','euler'", "hydra/launcher=ray", "runs=[a],[b]"):
        check([argument], multirun=True)
    assert "type -m seed=range(1,3)" in told("seed=range(1,3)")


def test_a_path_is_not_empty() -> None:
    for name in sorted(PATHS - {"weights"}):
        assert told(f"{name}=") == f"{name} is empty; type {name}=<path>, or leave it out"


def test_a_key_that_a_task_does_not_read_is_refused() -> None:
    for name, readers in READ_BY.items():
        for task in Task:
            if task in readers:
                check_task(task, [f"{name}=x"])
            else:
                with pytest.raises(ConfigError, match=f"^task={task.value} does not read {name}; type task=") as caught:
                    check_task(task, [f"{name}=x"])
                assert all(f"task={reader.value}" in str(caught.value) for reader in readers)


def test_what_is_read_by_a_task_is_in_its_code() -> None:
    """READ_BY against the code: a task that reads a key is listed."""
    texts = {task: (CONF.parent / f"t2i/tasks/{task.value}.py").read_text() for task in Task}
    for name, readers in READ_BY.items():
        assert {task for task, text in texts.items() if re.search(rf"\bconfig\.{name}\b", text)} <= set(readers)


def test_mappings_are_those_of_the_schema_and_replace_what_a_file_says() -> None:
    assert {key.name for key in keys().values() if key.mapping} == MAPPINGS
    space = compose(verbatim(["sweeps.space={model.resolution:[64,96]}"])).sweeps.space
    assert space == {"model.resolution": [64, 96]}
    assert compose(verbatim(["sweeps.fixed={}"])).sweeps.fixed == {}
    assert set(compose(verbatim(["++sweeps.space={seed:[1]}"])).sweeps.space) == {"scheduler", "cfg.scale", "seed"}
    assert compose(verbatim(["scheduler.options={use_karras_sigmas:true}"])).scheduler.options == {
        "use_karras_sigmas": True
    }


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "picture.png").touch()
    for name, meant in EXISTING.items():
        (mistake,) = missing(compose([f"{name}='{tmp_path}/pictur.png'"]))
        assert str(mistake) == (
            f"{name}={tmp_path}/pictur.png {meant}: it does not exist (did you mean {tmp_path}/picture.png?); give the path "
            "of one that does"
        )
        assert mistake.status == (1 if name == "recipe" else 2)
    assert str(next(missing(compose(["runs=[/no/where]"])))).startswith(
        "runs=/no/where is no finished run: there is no such folder (nor does the folder /no)"
    )


def test_a_key_of_another_option_names_it(empty_lab: Lab) -> None:
    for arguments in (["strategy.rank=8", "strategy=unet"], ["strategy=unet", "strategy.rank=8"]):
        ended = empty_lab.here("task=prepare", *arguments)
        assert ended.status == 2
        assert (
            "strategy.rank is no key of strategy=unet; leave strategy.rank out, or choose what has it: strategy=lora"
            in ended.err
        )
    ended = empty_lab.here("task=prepare", "dataset.hub=x/y")
    assert "dataset.hub is no key of the dataset of this run" in ended.err and "dataset=hub" in ended.err


@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x", "a" * 300])
def test_outputs_that_cannot_be_made_are_named(empty_lab: Lab, place: str) -> None:
    ended = empty_lab.here("task=prepare", f"outputs={place}")
    assert ended.status == 1 and "cannot be written" in ended.err and "use outputs=<a folder of yours>" in ended.err
    assert "Error" not in ended.err


def test_apostrophes_in_prompts_are_letters() -> None:
    for text in ("[a dog's ball]", "['a dog's ball']", '["a dog\'s ball"]', "[ a dog's ball ]"):
        assert compose(verbatim([f"prompts={text}"])).prompts == ["a dog's ball"]
    both = compose(verbatim(["prompts=['it's, ok', a {red|blue} cat's (old) hat, null, 5]"])).prompts
    assert both == ["it's, ok", "a {red|blue} cat's (old) hat", "null", "5"]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with an option of every group beside ours, each a copy of one of ours."""
    for group, names in options().items():
        (tmp_path / "own" / group).mkdir(parents=True)
        folder = PROJECT / "sweeps" if group == "sweeps" else CONF / group
        shutil.copy(folder / f"{names[0]}.yaml", tmp_path / "own" / group / "mine.yaml")
    return tmp_path / "own"


@pytest.mark.parametrize("group", sorted(options()))
def test_options_of_a_folder_that_was_added_are_known(own: Path, group: str) -> None:
    for added in (
        [f"--config-dir={own}"],
        ["--config-dir", str(own)],
        ["-cd", str(own)],
        [f"hydra.searchpath=[file://{own}]"],
        [f"+hydra.searchpath=['{own}',pkg://other]"],
    ):
        check([*added, f"{group}=mine"])
        if group != "experiment":
            assert f"did you mean {group}=mine?" in told(*added, f"{group}=minee")
    check([f"{group}=mine"], folders=[own])
    assert f"{group}=mine" in told(f"{group}=mine")


def test_a_folder_of_options_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert f"{tmp_path}/none is no folder; give one with options" in told(f"--config-dir={tmp_path}/none")


def test_they_are_drawn_with_and_searched(lab: Lab, main_job: Ended, own: Path) -> None:
    (own / "scheduler" / "mine.yaml").write_text("defaults: [ddim, _self_]\nname: mine\neta: 0.5\n", encoding="utf-8")
    plan = [*SCENES, *TOY, f"--config-dir={own}", "plan=true"]
    drawn = lab.here("task=generate", "prompts=[a cat]", "scheduler=mine", *plan)
    assert drawn.status == 0 and "1 to be made" in drawn.out, drawn.err
    searched = lab.here("task=sweep", "sweeps.space={scheduler:[ddim,mine]}", *plan)
    assert searched.status == 0 and "2 cells" in searched.out, searched.err


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ("task=generate --config-dir=own plan=true", "--config-dir=own task=generate plan=true"),
        ("task=generate --config-dir own plan=true", "--config-dir own task=generate plan=true"),
        (
            "task=generate -cd own scheduler=mine -m cfg.scale=1,2",
            "-cd own -m task=generate scheduler=mine cfg.scale=1,2",
        ),
        ("task=train --cfg job plan=true", "--cfg job task=train plan=true"),
        ("task=train --cfg=job", "--cfg=job task=train"),
        ("task=train --resolve --cfg job seed=1", "--resolve --cfg job task=train seed=1"),
        ("task=train --help", "--help task=train"),
        ("--cfg scale=3 task=train", "--cfg scale=3 task=train"),  # a key with dashes, which is told as such
        ("task=train seed=1", "task=train seed=1"),
        ("", ""),
    ],
)
def test_flags_of_hydra_may_stand_anywhere(given: str, first: str) -> None:
    assert flags_first(given.split()) == first.split()
