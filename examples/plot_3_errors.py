"""
Worst errors, and what the network looked at
============================================

A score says how often a classifier is wrong, not why. Looking at the errors does:
unreadable handwriting, wrong labels, or a network that answers to something else than
the object.
"""

# %%
# A classifier to look at
# -----------------------

from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from skimgclf import (
    ImageGridDisplay,
    ImageLoader,
    KerasImageClassifier,
    SaliencyDisplay,
)
from skimgclf.datasets import load_digit_images

data = load_digit_images()
paths, test_paths, y, y_test = train_test_split(
    data.filenames, data.target, random_state=0, stratify=data.target
)
pipeline = Pipeline(
    [
        ("load", ImageLoader(image_size=(8, 8))),
        (
            "classify",
            KerasImageClassifier(
                "cnn",
                conv_filters=(16, 32),
                hidden_layer_sizes=(64,),
                learning_rate=0.003,
                epochs=12,
                random_state=0,
            ),
        ),
    ]
)
pipeline.fit(paths, y)
print(f"accuracy: {pipeline.score(test_paths, y_test):.3f}")

# %%
# The worst errors
# ----------------
#
# First come the errors in which the network gave the true digit the lowest probability.
# Several are hard for people as well. ``indices`` says where the images stand among the
# test images.

worst = ImageGridDisplay.from_estimator(
    pipeline, test_paths, y_test, n_images=8
)
print(worst.indices)

# %%
# What it was sure of, and what it wasn't
# ---------------------------------------
#
# ``which="best"`` shows what the network takes for typical, ``"uncertain"`` the images
# with the smallest difference between the two most probable digits.

best = ImageGridDisplay.from_estimator(
    pipeline, test_paths, y_test, which="best", n_images=6, n_columns=6
)
best.figure_.suptitle("right and sure")

uncertain = ImageGridDisplay.from_estimator(
    pipeline, test_paths, y_test, which="uncertain", n_images=6, n_columns=6
)
uncertain.figure_.suptitle("uncertain")

# %%
# What it looked at
# -----------------
#
# :class:`~skimgclf.SaliencyDisplay` hides a patch of the image, predicts, and goes on
# to the next patch. Red are places without which the probability of the class falls,
# blue those without which it rises. Here for the worst error: on the left what speaks
# for the predicted digit; on the right, for the true one, what keeps the network from
# seeing it.

import matplotlib.pyplot as plt

row = worst.indices[0]
figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 4), layout="constrained"
)
for ax, target in [(left, worst.y_pred[0]), (right, y_test[row])]:
    SaliencyDisplay.from_estimator(
        pipeline,
        test_paths[row],
        target=target,
        patch_size=2,
        stride=1,
        ax=ax,
    )

# %%
# Such a map needs nothing but ``predict_proba``, so it works for any classifier of
# images, here for a logistic regression on patches of two photos. It is shown a whole
# photo, which it never saw as one piece.

from sklearn.datasets import load_sample_images
from sklearn.linear_model import LogisticRegression

from skimgclf.datasets import load_photo_patches

photos = load_photo_patches()
regression = Pipeline(
    [
        (
            "load",
            ImageLoader(image_size=(8, 8), color_mode="rgb", flatten=True),
        ),
        ("classify", LogisticRegression(max_iter=1000)),
    ]
)
regression.fit(photos.filenames, photos.target)
flower = load_sample_images().images[1]
SaliencyDisplay.from_estimator(
    regression, flower, patch_size=80, target="flower"
)
