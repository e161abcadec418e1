"""README's two commands; its Python blocks run in test_docs.py."""

import pathlib
import re

import pytest

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text()


def first_block_under(heading):
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.search(r"```sh\n(.*?)```", section, flags=re.DOTALL).group(1)


@pytest.mark.parametrize("heading", ["Try it", "Run the tests"])
def test_commands_are_one_line_each(heading):
    assert len(first_block_under(heading).splitlines()) == 1


def test_command_under_try_it_runs_the_quickstart():
    assert first_block_under("Try it").rstrip().endswith("examples/quickstart.py")


def test_readme_is_short():
    assert len(README.splitlines()) < 200
