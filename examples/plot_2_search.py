"""
Search layer sizes, and compare dense with convolutional
========================================================

Every parameter of the classifier can be searched by scikit-learn's own tools, the
architecture as well. Here dense networks of three sizes meet convolutional ones, with
equal training.
"""

# %%
# Five candidates, three folds
# ----------------------------
#
# The folds keep the shares of the classes, since scikit-learn knows the pipeline for a
# classifier. ``error_score="raise"`` lets an image that can't be read stop the search;
# by default scikit-learn would go on with a score of NaN.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.model_selection import GridSearchCV, LearningCurveDisplay
from sklearn.pipeline import Pipeline

from skimgclf import ImageLoader, KerasImageClassifier
from skimgclf.datasets import load_digit_images

data = load_digit_images()
paths, y = data.filenames[:600], data.target[:600]

pipeline = Pipeline(
    [
        ("load", ImageLoader(image_size=(16, 16))),
        (
            "classify",
            KerasImageClassifier(
                learning_rate=0.003, epochs=8, random_state=0
            ),
        ),
    ]
)
candidates = [
    {
        "classify__architecture": ["dense"],
        "classify__hidden_layer_sizes": [(40, 20, 10), (64,), (128, 64)],
    },
    {
        "classify__architecture": ["cnn"],
        "classify__hidden_layer_sizes": [(64,)],
        "classify__conv_filters": [(16,), (16, 32)],
    },
]
search = GridSearchCV(pipeline, candidates, cv=3, error_score="raise")
search.fit(paths, y)
for name, value in search.best_params_.items():
    print(f"{name.removeprefix('classify__')}: {value}")

# %%
# The scores
# ----------
#
# The lines show how far the three folds differ. The textbook's network, 40-20-10, is
# the weakest after so few epochs: ten units are a narrow passage for ten classes. The
# others lie about as close together as the folds of each, so 600 small images don't
# tell them apart: then take the smallest, or compare them on more images.

results = pd.DataFrame(search.cv_results_).sort_values("mean_test_score")
names = []
for parameters in results["params"]:
    sizes = parameters["classify__hidden_layer_sizes"]
    filters = parameters.get("classify__conv_filters")
    names.append(
        f"dense {sizes}" if filters is None else f"cnn {filters}, {sizes}"
    )

for name, score in zip(names, results["mean_test_score"], strict=True):
    print(f"{score:.3f}  {name}")

figure, ax = plt.subplots(layout="constrained")
ax.barh(names, results["mean_test_score"], xerr=results["std_test_score"])
ax.set(xlabel="accuracy, mean of three folds", xlim=(0, 1))

# %%
# Would more images help?
# -----------------------
#
# :class:`~sklearn.model_selection.LearningCurveDisplay` trains the best candidate on
# growing parts of the images. Where the score on held-out images still rises at the
# right end, more images are worth more than more tuning.

LearningCurveDisplay.from_estimator(
    search.best_estimator_, paths, y, cv=2, train_sizes=[0.2, 0.5, 1.0]
)
