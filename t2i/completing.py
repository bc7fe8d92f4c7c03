"""Completion of command lines in bash: `eval "$(python run.py -sc install=bash)"`; in zsh after `bashcompinit`.

A shell waits for the answer at every tab, so tasks and options of groups are read from the names of files, and nothing is
imported for them; only names of keys and their values need the schema.
"""

import os
import sys
from collections.abc import Iterable

from t2i.places import CONFIGURATION, PACKAGE

FLAGS = ("-sc", "--shell-completion")
SCRIPT = """
_t2i_complete() {
    local program
    case "${COMP_WORDS[0]##*/}" in
        python*) [[ "${COMP_WORDS[1]##*/}" == run.py ]] || return; program=("${COMP_WORDS[0]}" "${COMP_WORDS[1]}") ;;
        *) program=("${COMP_WORDS[0]}") ;;
    esac
    COMPREPLY=($(COMP_LINE="${COMP_LINE:0:COMP_POINT}" "${program[@]}" -sc query=bash 2>/dev/null))
    [[ "${COMPREPLY[*]}" == *= ]] && compopt -o nospace
}
complete -o default -F _t2i_complete python python3 t2i
"""


def asked(arguments: list[str]) -> bool:
    """Whether a command line asks for completion; then it is answered on standard output, or the flag's values are said."""
    if not arguments or arguments[0] not in FLAGS:
        return False
    if arguments[1:] == ["install=bash"]:
        print(SCRIPT)
    elif arguments[1:] == ["query=bash"]:
        print("\n".join(answers(os.environ.get("COMP_LINE", ""))))
    else:
        sys.exit(f't2i: {arguments[0]} takes install=bash; type eval "$(python run.py {arguments[0]} install=bash)"')
    return True


def answers(line: str) -> list[str]:
    """What the last word of a line can become: names of groups and keys with a `=` behind them, or values after one."""
    word = line.split()[-1] if line and not line[-1].isspace() else ""
    name, equals, begun = word.lstrip("+~").partition("=")
    found = _values(name) if equals else _names(name)
    return sorted(value for value in set(found) if value.startswith(begun if equals else name))


def _names(begun: str) -> Iterable[str]:
    """Groups, `task` and keys; keys below a group only once it is typed."""
    names = {"task", *_groups()}
    if begun and (begun in names or not any(name.startswith(begun) for name in names)):
        from t2i.keys import keys

        names |= {key for key in keys() if key.count(".") <= begun.count(".") + 1 and key.startswith(begun)}
    return [f"{name}=" for name in names]


def _values(name: str) -> Iterable[str]:
    if name == "task":
        return [path.stem for path in (PACKAGE / "tasks").glob("[!_]*.py")]
    if name in _groups():
        folder = CONFIGURATION if name == "sweeps" else CONFIGURATION / "conf"
        return [path.stem for path in (folder / name).glob("*.yaml")]
    from t2i.keys import keys

    kinds = keys()[name].kinds if name in keys() else ()
    named = [value for kind in kinds for value in getattr(kind, "__members__", ())]
    return [*named, *(("true", "false") if bool in kinds else ())]


def _groups() -> list[str]:
    """The folders of options that can be chosen."""
    folders = (path.name for path in (CONFIGURATION / "conf").iterdir() if path.is_dir())
    return ["sweeps", *(name for name in folders if name != "accelerate")]
