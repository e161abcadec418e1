"""
Calibrated probabilities, and a classifier that may pass
========================================================

A probability of 0.9 should mean: right nine times out of ten. Then a threshold on it
decides which images a person looks at instead.
"""

# %%
# Two classifiers
# ---------------
#
# Long training on few images makes a network too sure of itself. The second one is
# calibrated: :class:`~sklearn.calibration.CalibratedClassifierCV` learns from held-out
# folds how far to lower its probabilities. Its answers stay the same
# (``method="temperature"`` needs scikit-learn 1.8).

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibratedClassifierCV, CalibrationDisplay
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from skimgclf import ImageGridDisplay, ImageLoader, KerasImageClassifier
from skimgclf.datasets import load_digit_images

data = load_digit_images()
paths, test_paths, y, y_test = train_test_split(
    data.filenames,
    data.target,
    train_size=400,
    random_state=0,
    stratify=data.target,
)
network = KerasImageClassifier(
    hidden_layer_sizes=(64,), learning_rate=0.01, epochs=40, random_state=0
)
plain = Pipeline(
    [("load", ImageLoader(image_size=(8, 8))), ("classify", network)]
)
calibrated = CalibratedClassifierCV(
    plain, method="temperature", cv=3, ensemble=False
)
probabilities = {}
for name, classifier in [("plain", plain), ("calibrated", calibrated)]:
    probabilities[name] = classifier.fit(paths, y).predict_proba(test_paths)

# %%
# Are the probabilities true?
# ---------------------------
#
# For each test image: the probability of the answer, and whether the answer is right.
# On the dotted line they agree; below it a classifier is too sure of itself, as the
# plain one is. The images are sorted into bins of equal size, and most of them get a
# probability close to 1.

classes = plain.classes_
figure, ax = plt.subplots()
for name, proba in probabilities.items():
    is_right = classes[proba.argmax(axis=1)] == y_test
    CalibrationDisplay.from_predictions(
        is_right,
        proba.max(axis=1),
        n_bins=6,
        strategy="quantile",
        name=name,
        ax=ax,
    )
ax.set(
    xlabel="probability of the answer", ylabel="fraction of right answers"
)

# %%
# Answer only when sure
# ---------------------
#
# Sort the images by the probability of their answer and leave the least sure to a
# person. The fewer images are answered, the fewer of the answers are wrong.

proba = probabilities["calibrated"]
answers, sure = classes[proba.argmax(axis=1)], proba.max(axis=1)
order = np.argsort(-sure)
n_answered = np.arange(1, len(order) + 1)
error_rate = np.cumsum(answers[order] != y_test[order]) / n_answered

figure, ax = plt.subplots()
ax.plot(n_answered / len(order), error_rate)
ax.set(
    xlabel="fraction of images answered", ylabel="fraction of wrong answers"
)

for threshold in (0.0, 0.8, 0.95):
    answered = sure >= threshold
    accuracy = (answers[answered] == y_test[answered]).mean()
    print(
        f"threshold {threshold:.2f}: {answered.mean():.0%} answered, ",
        end="",
    )
    print(f"{accuracy:.1%} of them right")

# %%
# What is passed on
# -----------------
#
# The images that the classifier would pass on first.

passed = ImageGridDisplay.from_predictions(
    test_paths,
    y_test,
    answers,
    proba,
    classes=classes,
    which="uncertain",
    n_images=12,
    n_columns=6,
)
