"""
Copies on both sides of a split
===============================

Folders of images hold copies: ``cat - Copy.jpg``, the same photo under two names, a
download that ran twice. When one copy is trained on and the other tested on, the score
tells how well the network remembers, not how well it recognises.
"""

# %%
# A folder with copies
# --------------------
#
# Fifteen pieces of each of six photos of scikit-image's, cut from a grid so that none
# overlaps another, and every file four times, under different names.

import shutil
import tempfile
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from skimgclf import ImageGridDisplay
from skimgclf.datasets import load_image_folder

PHOTOS = {
    "astronaut": skimage.data.astronaut(),
    "cat": skimage.data.chelsea(),
    "coffee": skimage.data.coffee(),
    "galaxies": skimage.data.hubble_deep_field(),
    "rocket": skimage.data.rocket(),
    "tissue": skimage.data.immunohistochemistry(),
}
SIZE = 64
random = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())
for label, photo in PHOTOS.items():
    (folder / label).mkdir()
    n_rows, n_columns = np.array(photo.shape[:2]) // SIZE
    cells = random.choice(n_rows * n_columns, size=15, replace=False)
    for i, cell in enumerate(cells):
        top, left = SIZE * np.array(divmod(cell, n_columns))
        piece = photo[top : top + SIZE, left : left + SIZE]
        path = folder / label / f"{label}_{i:02}.png"
        Image.fromarray(piece).save(path)
        for copy in (" - Copy", " - Copy (2)", " - Copy (3)"):
            shutil.copy(path, path.with_stem(path.stem + copy))

# %%
# ``hash_files=True`` reads every file and puts the hash of its content into ``groups``:
# equal contents, equal group, whatever the names are.

data = load_image_folder(folder, hash_files=True)
n_different = len(set(data.groups))
print(f"{len(data.filenames)} files, {n_different} different contents")
ImageGridDisplay(data.filenames[::30], data.target[::30]).plot(n_columns=6)

# %%
# Two ways to score
# -----------------
#
# :class:`~sklearn.model_selection.StratifiedKFold` keeps the shares of the classes and
# knows nothing of copies; :class:`~sklearn.model_selection.StratifiedGroupKFold` keeps
# equal images on one side as well.

from sklearn.model_selection import (
    StratifiedGroupKFold,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import Pipeline

from skimgclf import ImageLoader, KerasImageClassifier

pipeline = Pipeline(
    [
        ("load", ImageLoader(image_size=(16, 16), color_mode="rgb")),
        (
            "classify",
            KerasImageClassifier(
                hidden_layer_sizes=(64,),
                learning_rate=0.003,
                epochs=15,
                random_state=0,
            ),
        ),
    ]
)
scores = {}
for splitter, groups in [
    (StratifiedKFold, None),
    (StratifiedGroupKFold, data.groups),
]:
    scores[splitter.__name__] = cross_val_score(
        pipeline,
        data.filenames,
        data.target,
        groups=groups,
        cv=splitter(n_splits=3, shuffle=True, random_state=0),
        error_score="raise",
    )

# %%
# The first score is the flattering one. The second is what new pieces would get.

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.barh(
    list(scores),
    [values.mean() for values in scores.values()],
    color="0.85",
)
for name, values in scores.items():
    ax.plot(values, [name] * len(values), "o")
ax.set(xlabel="accuracy: mean, and three folds", xlim=(0, 1.02))
for name, values in scores.items():
    print(f"{name}: {values.mean():.3f}")

# %%
# Fewer files, a better score
# ---------------------------
#
# Or leave the copies out beforehand. :func:`~skimgclf.check_images` names the first
# file with the same content.

from skimgclf import check_images

report = check_images(data.filenames)
unique = report["duplicate_of"].isna().to_numpy()
print(f"{unique.sum()} of {len(unique)} files are kept")
shutil.rmtree(folder)
