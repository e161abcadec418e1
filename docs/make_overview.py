"""Draw the picture of README and of the front page: photos and what they are taken for.

Run it with ``python docs/make_overview.py``; it writes ``docs/_static/overview.png``.
The photos are public ones that come with scikit-image and scikit-learn, cut into
patches: one patch of each photo's left half is trained on, and those of its right
half are classified. Needs ``pip install "skimgclf[docs]"``; takes ten seconds.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image

from skimgclf import ImageGridDisplay, make_image_pipeline

OUTPUT = Path(__file__).parent / "_static" / "overview.png"

PATCH_SIZE, N_TRAIN, N_TEST, N_COLUMNS = 160, 1, 30, 6


def load_photos():
    """Load the photos by name; all may be shown by anybody."""
    return {
        "astronaut": skimage.data.astronaut(),
        "cat": skimage.data.chelsea(),
        "coffee": skimage.data.coffee(),
        "flower": load_sample_image("flower.jpg"),
        "galaxies": skimage.data.hubble_deep_field(),
        "rocket": skimage.data.rocket(),
        "temple": load_sample_image("china.jpg"),
        "tissue": skimage.data.immunohistochemistry(),
    }


def cut_patches(folder):
    """Write patches of the left halves to train on, of the right halves to test with.

    Returns
    -------
    paths, y, test_paths, y_test : list of str
    """
    random, train, test = np.random.default_rng(0), [], []
    for name, photo in load_photos().items():
        middle = photo.shape[1] // 2
        for half, n_patches, paths in [
            (photo[:, :middle], N_TRAIN, train),
            (photo[:, middle:], N_TEST, test),
        ]:
            for _ in range(n_patches):
                top, left = random.integers(
                    np.subtract(half.shape[:2], PATCH_SIZE) + 1
                )
                patch = half[
                    top : top + PATCH_SIZE, left : left + PATCH_SIZE
                ]
                paths.append(
                    (f"{folder}/{name}_{len(train)}_{len(test)}.png", name)
                )
                Image.fromarray(patch).save(paths[-1][0])
    paths, y = zip(*train, strict=True)
    test_paths, y_test = zip(*test, strict=True)
    return list(paths), list(y), list(test_paths), list(y_test)


def choose_rows(y_true, y_pred, proba):
    """Choose six sure right answers of different classes, and up to six errors.

    Returns
    -------
    rows : list of int
        First the right answers; in each part the surest first.
    """
    right, wrong = {}, {}
    for row in np.argsort(-proba.max(axis=1)):
        kind = y_true[row], y_pred[row]
        part = right if kind[0] == kind[1] else wrong
        # Two of a class at most: more of a photo look alike.
        n_alike = sum(y_true[row] == true for true, _ in part)
        if len(part) < N_COLUMNS and n_alike < 2:
            part.setdefault(kind, int(row))
    return [*right.values(), *wrong.values()]


def main():
    """Train, draw and write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        paths, y, test_paths, y_test = cut_patches(folder)
        pipeline = make_image_pipeline("few_photos", random_state=0).fit(
            paths, y
        )
        proba = pipeline.predict_proba(test_paths)
        y_pred = pipeline.classes_[proba.argmax(axis=1)]
        rows = choose_rows(y_test, y_pred, proba)
        display = ImageGridDisplay(
            [test_paths[row] for row in rows],
            [y_test[row] for row in rows],
            y_pred=y_pred[rows],
            probability=proba.max(axis=1)[rows],
        ).plot(n_columns=N_COLUMNS)
    accuracy = (y_pred == y_test).mean()
    display.ax_.set_title(
        f"{len(paths)} patches to learn from, {accuracy:.0%} of {len(test_paths)} "
        "others right; below, some of the errors",
        fontsize=11,
    )
    display.figure_.savefig(OUTPUT, dpi=110, bbox_inches="tight")
    # A palette makes it a third of the size.
    with Image.open(OUTPUT) as image:
        image.convert("RGB").quantize(256).save(OUTPUT, optimize=True)
    print(
        f"{OUTPUT}: {OUTPUT.stat().st_size} bytes, accuracy {accuracy:.3f}"
    )


if __name__ == "__main__":
    main()
