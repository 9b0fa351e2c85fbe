"""All code in README.md, docs/ and the docstrings runs; docs/extend.md's in tests/arrivals."""

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex

import keras
import pytest

import langevin
from langevin.experiments.studies import commands
from langevin.experiments.training.store import root

DOCUMENTS = [root() / "README.md", *sorted((root() / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.S | re.M)
RUN = ("README.md", "networks.md", "use.md")


def blocks(path, *languages):
    return [code for language, code in BLOCK.findall(path.read_text()) if language in languages]


def test_every_block_has_a_language_of_which_the_tests_know():
    for path in DOCUMENTS:
        for language, _ in BLOCK.findall(path.read_text()):
            assert language in ("python", "bash", "yaml", "bibtex"), f"{path.name}: {language!r}"
    others = {path.name for path in DOCUMENTS if blocks(path, "python", "yaml")} - set(RUN)
    assert others == {"extend.md"}


@pytest.mark.parametrize("name", RUN)
def test_the_code_of_a_document_runs_from_top_to_bottom(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = next(path for path in DOCUMENTS if path.name == name)
    assert (code := blocks(path, "python"))
    names = {"__name__": "__main__"}
    for one in code:
        exec(compile(one, str(path), "exec"), names)
    assert isinstance(names["model"].optimizer, langevin.Langevin)


def typed():
    """What is typed in documents as `python -m langevin …`."""
    texts = [re.findall(r"python -m langevin ([^`\n#]*)", path.read_text()) for path in DOCUMENTS]
    return sorted({line.strip() for text in texts for line in text})


@pytest.mark.parametrize("line", typed())
def test_the_command_line_understands_what_documents_say(line, monkeypatch, capsys):
    words = shlex.split(line)
    if "my-figure" in words:  # made by the reader; in tests/arrivals
        words[words.index("my-figure")] = "start-here"
    heard = []
    monkeypatch.setitem(commands.COMMANDS, words[0], heard.append)
    assert commands.main(words) is None
    assert heard[0].command == words[0]


def test_a_command_that_there_is_not_fails(capsys):
    with pytest.raises(SystemExit):
        commands.main(["list", "--profile", "none"])


@pytest.mark.parametrize("words", ["train --workers", "verify --runs", "verify --record"])
@pytest.mark.parametrize("count", ["abc", "0", "-1", "1.5", ""])
def test_a_wrong_count_is_refused_with_what_was_expected_and_received(words, count, capsys):
    with pytest.raises(SystemExit):
        commands.main([*words.split(), count])
    said = f"{words.split()[1]}: must be a whole number >= 1. Received: {count!r}"
    assert said in capsys.readouterr().err


# Docstrings


class Said(doctest.OutputChecker):
    """An example without output may say what it likes."""

    def check_output(self, want, got, flags):
        return not want or super().check_output(want, got, flags)


def examples():
    """Every docstring with an example: of modules, classes, functions and methods."""
    found, finder = [], doctest.DocTestFinder(exclude_empty=True)
    other = {"tensorflow": "jax", "jax": "tensorflow"}[keras.backend.backend()]
    for one in pkgutil.walk_packages(langevin.__path__, "langevin."):
        if one.name not in ("langevin.__main__", f"langevin.experiments.training.program_{other}"):
            module = importlib.import_module(one.name)
            found += [test for test in finder.find(module) if test.examples]
    return found


def given(test):
    """What an example may take for granted: its module, and a model."""
    layers = [keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(1)]
    return {**test.globs, "langevin": langevin, "keras": keras, "model": keras.Sequential(layers)}


@pytest.mark.parametrize("test", examples(), ids=lambda test: test.name)
def test_the_example_of_a_docstring_runs(test):
    test.globs = given(test)
    said = []
    runner = doctest.DocTestRunner(checker=Said(), verbose=False)
    runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_the_optimizers_and_the_mixin_have_examples():
    names = {test.name for test in examples()}
    made = [one for one in vars(langevin).values() if inspect.isclass(one)]
    optimizers = [one for one in made if issubclass(one, langevin.Langevin)]
    assert {f"{one.__module__}.{one.__name__}" for one in optimizers} <= names


def test_an_example_that_is_wrong_fails():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    with pytest.raises(AssertionError, match="(?s)Expected:.*3.*Got:.*2"):
        test_the_example_of_a_docstring_runs(test)
