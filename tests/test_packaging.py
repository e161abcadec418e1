"""The wheel holds the whole package, and what a package index shows is right."""

import email
import importlib.metadata
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import types
import zipfile

import pytest

import skimgclf
from skimgclf._extras import how_to_install

ROOT = pathlib.Path(__file__).parent.parent


def check_metadata(wheel):
    (name,) = (each for each in wheel.namelist() if each.endswith("/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))
    assert metadata["Version"] == skimgclf.__version__
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Description-Content-Type"] == "text/markdown"
    for entry in ["Summary", "Author", "Keywords", "Requires-Python", "Classifier"]:
        assert metadata[entry], entry
    text = metadata.get_payload(decode=True).decode()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert re.match("# (<img .*> )?skimgclf\n", prose)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    targets += re.findall(r'(?:src|href)="([^"]+)"', prose)
    assert [each for each in targets if not re.match("https://|#", each)] == []


@pytest.mark.slow
def test_wheel_builds_and_works_without_the_source_tree(tmp_path, run_python):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*build, "--wheel-dir", tmp_path, ROOT], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = ROOT.glob("skimgclf/**/*.py")
    assert {path.relative_to(ROOT).as_posix() for path in sources} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    check_metadata(zipfile.ZipFile(wheel))

    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    printed = run_python(
        "import os, sys; os.chdir(sys.argv[1])\n"
        "import skimgclf\n"
        "from skimgclf.datasets import load_digit_images, load_photo_patches\n"
        "digits, photos = load_digit_images('data'), load_photo_patches('data')\n"
        "X = skimgclf.ImageLoader().transform(digits.filenames[:2])\n"
        "print(skimgclf.__file__, len(digits.target), len(photos.target), X.shape)",
        tmp_path,
        PYTHONPATH=os.fspath(site),
    )
    assert printed == f"{site}/skimgclf/__init__.py 1797 520 (2, 28, 28, 1)"


@pytest.fixture
def convert_links(monkeypatch):
    # hatchling is there only while a package is built.
    name = "hatchling.metadata.plugin.interface"
    monkeypatch.setitem(
        sys.modules, name, types.SimpleNamespace(MetadataHookInterface=object)
    )
    path = ROOT / "hatch_build.py"
    spec = importlib.util.spec_from_file_location("hatch_build", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.convert_links


def test_links_of_the_readme_are_made_absolute(convert_links):
    text = (
        "![A\npicture](docs/a.png) [page](docs/b.md#c) [here](#d) [web](https://e.f)\n"
        '# <img src="docs/c.svg" alt=""> Title\n'
        "<sub>Drawn by\na script.</sub>\n"
        '```python\npipeline["load"](paths) [x](docs/b.md)\n```\n'
    )
    code = text[text.index("```") :]
    assert convert_links(text, "https://g.h/", "v1") == (
        "![A\npicture](https://g.h/raw/v1/docs/a.png) "
        "[page](https://g.h/blob/v1/docs/b.md#c) [here](#d) [web](https://e.f)\n"
        '# <img src="https://g.h/raw/v1/docs/c.svg" alt=""> Title\n'
        "<sub>Drawn by\na script.</sub>\n" + code
    )
    without = " page [here](#d) [web](https://e.f)\n# Title\n\n" + code
    assert convert_links(text, None, "v1") == without


def test_the_version_is_the_same_everywhere_and_has_a_date():
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    entries = re.findall(r"^## \[(.+?)\](?: - (.+))?$", changelog, re.MULTILINE)
    released = [entry for entry in entries if entry[0] != "Unreleased"]
    version, day = released[0]
    assert version == skimgclf.__version__
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f'version: {version}\ndate-released: "{day}"' in citation


def test_a_copy_that_was_never_installed_names_the_packages_too(monkeypatch):
    def fail(name):
        raise importlib.metadata.PackageNotFoundError(name)

    installed = how_to_install("plot")
    monkeypatch.setattr(importlib.metadata, "requires", fail)
    assert how_to_install("plot") == installed
    assert how_to_install("no such extra") == 'pip install "skimgclf[no such extra]"'
