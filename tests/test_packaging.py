"""The wheel holds the whole package."""

import os
import pathlib
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).parent.parent


def test_wheel_builds_and_works_without_the_source_tree(tmp_path, run_python):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*build, "--wheel-dir", tmp_path, ROOT], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = ROOT.glob("skimgclf/**/*.py")
    assert {path.relative_to(ROOT).as_posix() for path in sources} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)

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
