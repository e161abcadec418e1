"""
From image files to a scored classifier
=======================================

The whole way once: a csv table and a folder of images, a split, a network, and a look
at how it learnt and what it gets right and wrong. ``examples/quickstart.py`` in the
repository goes on from here: it also searches, saves, and predicts in a new process.
"""

# %%
# Where the images are
# --------------------
#
# :func:`~skimgclf.datasets.load_digit_images` writes 1,797 real handwritten digits as
# PNG files with a csv table. From then on they are treated like any other images:
# :func:`~skimgclf.datasets.load_image_csv` reads the table and finds the file of each
# row.

from skimgclf import ImageGridDisplay
from skimgclf.datasets import load_digit_images, load_image_csv

data = load_image_csv(load_digit_images().csv)
print(f"{len(data.filenames)} images of {len(data.target_names)} classes")
ImageGridDisplay(data.filenames[:10], data.target[:10]).plot(n_columns=5)

# %%
# Split, fit, score
# -----------------
#
# What is split are paths and labels. The images are loaded inside of the pipeline, so
# that those of training and test are read alike. A tenth of the training images is held
# out by ``early_stopping``, to see when more training no longer helps.

from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from skimgclf import ImageLoader, KerasImageClassifier

paths, test_paths, y, y_test = train_test_split(
    data.filenames,
    data.target,
    test_size=0.2,
    random_state=42,
    stratify=data.target,
)
classifier = KerasImageClassifier(
    hidden_layer_sizes=(128, 64),
    epochs=30,
    early_stopping=True,
    random_state=0,
)
pipeline = Pipeline(
    [("load", ImageLoader(image_size=(16, 16))), ("classify", classifier)]
)
pipeline.fit(paths, y)
accuracy = pipeline.score(test_paths, y_test)
print(f"accuracy on {len(y_test)} test images: {accuracy:.3f}")

# %%
# How it learnt
# -------------
#
# Both losses fall steeply and then level out. Where training goes on falling and
# validation doesn't, the network learns images by heart. The dashed line marks the
# epoch of the weights that are kept.

from skimgclf import TrainingHistoryDisplay

TrainingHistoryDisplay.from_estimator(pipeline)

# %%
# What it takes for what
# ----------------------
#
# scikit-learn's own displays take the pipeline as it is. What lies off the diagonal are
# the errors.

from sklearn.metrics import ConfusionMatrixDisplay

ConfusionMatrixDisplay.from_estimator(
    pipeline, test_paths, y_test, colorbar=False
)

# %%
# The same images, the worst errors first, in red. If there are fewer errors than
# places, right answers that the network was least sure of follow.

ImageGridDisplay.from_estimator(
    pipeline, test_paths, y_test, n_images=12, n_columns=6
)
