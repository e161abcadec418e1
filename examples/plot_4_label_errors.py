"""
Find wrong labels
=================

Labels are written by people, and some are wrong. An image whose label gets a low
probability from networks that never saw it is worth a second look.
"""

# %%
# Labels with errors
# ------------------
#
# To know what there is to find, thirty of 900 labels are replaced by wrong ones here.

import numpy as np

from skimgclf.datasets import load_digit_images

data = load_digit_images()
paths, y_true = data.filenames[:900], data.target[:900]
rng = np.random.default_rng(0)
wrong_rows = rng.choice(len(y_true), size=30, replace=False)
y = y_true.copy()
for row in wrong_rows:
    y[row] = rng.choice(
        [name for name in data.target_names if name != y_true[row]]
    )

# %%
# Probabilities from networks that didn't see the image
# -----------------------------------------------------
#
# :func:`~sklearn.model_selection.cross_val_predict` trains five networks, each without
# a fifth of the images, and predicts that fifth. A network that had trained on a wrong
# label might have learnt it by heart.

from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline

from skimgclf import ImageGridDisplay, ImageLoader, KerasImageClassifier

pipeline = Pipeline(
    [
        ("load", ImageLoader(image_size=(8, 8))),
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
proba = cross_val_predict(pipeline, paths, y, cv=5, method="predict_proba")

# %%
# Look at the worst
# -----------------
#
# "true" is what the table says. Nearly all of the first images show another digit than
# that: these labels are wrong, not the network.

classes = np.unique(y)
worst = ImageGridDisplay.from_predictions(
    paths,
    y,
    classes[proba.argmax(axis=1)],
    proba,
    classes=classes,
    n_images=24,
)

# %%
# How many looks does it take?
# ----------------------------
#
# Sorted by the probability of the label, the wrong ones stand in front. The steep part
# of the curve is where nearly every look finds one.

import matplotlib.pyplot as plt

of_label = proba[np.arange(len(y)), np.searchsorted(classes, y)]
order = np.argsort(of_label)
n_found = np.cumsum(np.isin(order, wrong_rows))
print(f"{n_found[29]} of 30 wrong labels are among the first 30 images,")
print(f"{n_found[59]} among the first 60")

figure, ax = plt.subplots()
ax.plot(np.arange(1, 201), n_found[:200])
ax.set(xlabel="images looked at", ylabel="wrong labels found")
