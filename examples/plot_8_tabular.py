"""
Images beside other columns
===========================

A table with a column of image paths and columns of numbers is split, searched and
classified as one. A :class:`~sklearn.compose.ColumnTransformer` loads the images and
scales the numbers.
"""

# %%
# A table
# -------
#
# Pieces of two photos, with three things known of each besides its pixels: where in the
# photo it was cut out, and how many bytes its JPEG file has, which is more for more
# detail.

import os

import pandas as pd

from skimgclf import ImageGridDisplay
from skimgclf.datasets import load_photo_patches

photos = load_photo_patches()
names = pd.Series(photos.filenames).str.extract(r"_(\d\d)_(\d\d)\.jpg$")
table = pd.DataFrame(
    {
        "path": photos.filenames,
        "row": names[0].astype(int),
        "column": names[1].astype(int),
        "n_bytes": [os.path.getsize(path) for path in photos.filenames],
    }
)
print(table.drop(columns="path").groupby(photos.target).mean().round(1))
rows = table.sample(12, random_state=0).index
ImageGridDisplay(table["path"][rows], photos.target[rows]).plot(n_columns=6)

# %%
# Three classifiers
# -----------------
#
# ``flatten=True`` gives a row of numbers for each image, which is what a
# ColumnTransformer can put beside others. The images are made very small, so that the
# task isn't too easy.

from sklearn.compose import ColumnTransformer
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skimgclf import ImageLoader, KerasImageClassifier

loader = ImageLoader(
    image_size=(2, 2), color_mode="grayscale", flatten=True
)
image = ("image", loader, ["path"])
numbers = ("numbers", StandardScaler(), ["row", "column", "n_bytes"])
folds = StratifiedKFold(n_splits=3, shuffle=True, random_state=0)
scores = {}
for name, parts in [
    ("image", [image]),
    ("numbers", [numbers]),
    ("both", [image, numbers]),
]:
    pipeline = make_pipeline(
        ColumnTransformer(parts),
        KerasImageClassifier(
            hidden_layer_sizes=(32,),
            learning_rate=0.01,
            epochs=15,
            random_state=0,
        ),
    )
    scores[name] = cross_val_score(
        pipeline, table, photos.target, cv=folds, error_score="raise"
    )

# %%
# Both together do better than either alone. Patches that were cut side by side are on
# both sides of the split, so the figures say nothing about other photos.

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
