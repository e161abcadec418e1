"""Draw the picture of the README: a training curve and a grid of predictions.

Run it with ``python docs/make_overview.py``; it writes ``docs/_static/overview.png``.
It trains a small network on scikit-learn's handwritten digits, as in README's ten
lines, in about ten seconds on two cores.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from PIL import Image
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from skimgclf import (
    ImageGridDisplay,
    ImageLoader,
    KerasImageClassifier,
    TrainingHistoryDisplay,
)
from skimgclf.datasets import load_digit_images

OUTPUT = Path(__file__).parent / "_static" / "overview.png"


def main():
    """Train, draw and write the picture."""
    digits = load_digit_images()
    paths, test_paths, y, y_test = train_test_split(
        digits.filenames, digits.target, random_state=0, stratify=digits.target
    )
    classifier = KerasImageClassifier(
        "cnn",
        conv_filters=(16, 32),
        hidden_layer_sizes=(64,),
        learning_rate=0.003,
        epochs=25,
        early_stopping=True,
        random_state=0,
    )
    pipeline = Pipeline(
        [("load", ImageLoader(image_size=(8, 8))), ("classify", classifier)]
    )
    pipeline.fit(paths, y)

    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 4.2), width_ratios=[1, 2.1], layout="constrained"
    )
    TrainingHistoryDisplay.from_estimator(pipeline, metrics=["loss"], ax=left)
    left.set_title("how it learnt")
    ImageGridDisplay.from_estimator(
        pipeline, test_paths, y_test, n_images=10, n_columns=5, ax=right
    )
    accuracy = pipeline.score(test_paths, y_test)
    right.set_title(f"{accuracy:.1%} right on test images, the worst errors first")
    figure.savefig(OUTPUT, dpi=110)
    # A palette makes it a third of the size.
    with Image.open(OUTPUT) as image:
        image.convert("RGB").quantize(64).save(OUTPUT, optimize=True)
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
