"""
An architecture of your own
===========================

Where "dense", "cnn" and "resnet" don't fit, ``architecture`` takes a function that
builds a Keras network. The rest stays as it is: searches, validation, saving, seeds.
"""

# %%
# The images
# ----------
#
# Pieces of two photos, in colour. They are cut side by side, so a random split has the
# neighbours of training images among the test images: good enough to see that a network
# learns, not for any claim on accuracy. skimgclf's classifier is imported before Keras,
# so that TensorFlow starts silently.

import matplotlib.pyplot as plt
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from skimgclf import (
    ImageLoader,
    KerasImageClassifier,
    TrainingHistoryDisplay,
)
from skimgclf.datasets import load_photo_patches

photos = load_photo_patches()
paths, test_paths, y, y_test = train_test_split(
    photos.filenames, photos.target, random_state=0, stratify=photos.target
)

# %%
# A function from an image's shape to a network of features
# ---------------------------------------------------------
#
# It gets the shape of one image, and of the classifier's parameters those that it
# names. The classifier adds the softmax layer and the loss. This one has separable
# convolutions, which look at each channel by itself before they mix the channels, and
# averages over the whole image in the end, so that it has few weights.

import keras


def build_separable(image_shape, *, conv_filters, dropout):
    inputs = x = keras.Input(image_shape)
    for n_filters in conv_filters:
        x = keras.layers.SeparableConv2D(n_filters, 3, padding="same")(x)
        x = keras.layers.MaxPooling2D()(keras.layers.Activation("relu")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dropout(dropout)(x))


# %%
# Compare it with the architectures that are there
# ------------------------------------------------

classifiers = {
    "dense": {"architecture": "dense", "hidden_layer_sizes": (32,)},
    "cnn": {
        "architecture": "cnn",
        "conv_filters": (8, 16),
        "hidden_layer_sizes": (32,),
    },
    "resnet": {"architecture": "resnet", "conv_filters": (8, 16)},
    "separable": {
        "architecture": build_separable,
        "conv_filters": (32, 64),
    },
}
figure, axes = plt.subplots(4, 1, figsize=(9, 12), layout="constrained")
for ax, (name, parameters) in zip(axes, classifiers.items(), strict=True):
    classifier = KerasImageClassifier(
        **parameters,
        learning_rate=0.003,
        early_stopping=True,
        epochs=12,
        random_state=0,
    )
    pipeline = Pipeline(
        [
            ("load", ImageLoader(image_size=(16, 16), color_mode="rgb")),
            ("classify", classifier),
        ]
    )
    pipeline.fit(paths, y)
    TrainingHistoryDisplay.from_estimator(pipeline, ax=ax)
    ax.set_title(name)
    n_weights = classifier.model_.count_params()
    accuracy = pipeline.score(test_paths, y_test)
    print(f"{name}: {n_weights} weights, accuracy {accuracy:.3f}")

# %%
# A function's parameters are the classifier's own, so they can be searched like any
# others: ``{"classify__conv_filters": [(8, 16), (16, 32)]}``.
