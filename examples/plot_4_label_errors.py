"""
Find wrong labels
=================

Labels are written by people, and some are wrong. An image whose label gets a low
probability from a classifier that never saw it is worth a second look.
"""

# %%
# Labels with errors
# ------------------
#
# The images are 520 pieces of two photos, of a temple in China and of a flower. To know
# what there is to find, thirty labels are replaced by the other one here.

import numpy as np

from skimgclf.datasets import load_photo_patches

data = load_photo_patches()
paths, y_true = data.filenames, data.target
rng = np.random.default_rng(0)
wrong_rows = rng.choice(len(y_true), size=30, replace=False)
y = y_true.copy()
y[wrong_rows] = np.where(y_true[wrong_rows] == "china", "flower", "china")

# %%
# Probabilities from a classifier that didn't see the image
# ---------------------------------------------------------
#
# :func:`~sklearn.model_selection.cross_val_predict` trains five times, each time
# without a fifth of the images, and predicts that fifth. A classifier that had trained
# on a wrong label might have learnt it by heart. The pretrained network learns nothing
# from these images, so its features are computed once, outside of the folds.

from sklearn.model_selection import StratifiedKFold, cross_val_predict

from skimgclf import ImageGridDisplay, make_image_pipeline

pipeline = make_image_pipeline(
    "few_photos", image_size=(64, 64), random_state=0
)
features = pipeline[:-1].fit_transform(paths)
proba = cross_val_predict(
    pipeline["classify"],
    features,
    y,
    cv=StratifiedKFold(n_splits=5, shuffle=True, random_state=0),
    method="predict_proba",
)

# %%
# Look at the worst
# -----------------
#
# "true" is what the table says. Nearly all of the first images show the other photo:
# these labels are wrong, not the classifier.

classes = np.unique(y)
worst = ImageGridDisplay.from_predictions(
    paths,
    y,
    classes[proba.argmax(axis=1)],
    proba,
    classes=classes,
    n_images=24,
    n_columns=6,
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
