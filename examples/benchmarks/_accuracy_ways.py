"""Define the ways to classify images that accuracy.py compares.

Each way is made by a function of `Settings`, and has `fit(paths, y)` and
`predict(paths)`: all start from the same files.
"""

import dataclasses
import importlib.util

import numpy as np

# What is also measured with other numbers of epochs than its own.
BUDGETED = ("photos", "fastai")
TUTORIAL_EPOCHS, FASTAI_EPOCHS = 15, 30


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a way is made for.

    Attributes
    ----------
    image_size : tuple of two int
        Height and width that images are resized to, in pixels.
    epochs : int or None
        Number of epochs; None for the way's own.
    seed : int
        Decides on the initial weights and all other draws.
    """

    image_size: tuple
    epochs: int | None
    seed: int

    def choose_epochs(self):
        """Return `epochs` as a dict of parameters, empty if the way has its own."""
        return {} if self.epochs is None else {"epochs": self.epochs}


def make_kind(kind, settings):
    """Make the pipeline for a kind of images; "photos" takes the size of the others."""
    from skimgclf import make_image_pipeline

    image_size = settings.image_size if kind == "photos" else None
    return make_image_pipeline(
        kind,
        image_size=image_size,
        random_state=settings.seed,
        **settings.choose_epochs(),
    )


def make_architecture(architecture, settings, **parameters):
    """Make a pipeline of the loader, in colour, and KerasImageClassifier."""
    from sklearn.pipeline import make_pipeline

    from skimgclf import ImageLoader, KerasImageClassifier

    parameters = {**parameters, **settings.choose_epochs()}
    return make_pipeline(
        ImageLoader(image_size=settings.image_size, color_mode="rgb"),
        KerasImageClassifier(architecture, random_state=settings.seed, **parameters),
    )


def make_cnn_by_hand(settings):
    """Make a convolutional network as one would set it by hand for photos."""
    return make_architecture(
        "cnn",
        settings,
        conv_filters=(32, 64, 128),
        hidden_layer_sizes=(128,),
        dropout=0.3,
        early_stopping=True,
        **({} if settings.epochs else {"epochs": 30}),
    )


def make_logistic_regression(features, settings):
    """Make scikit-learn's logistic regression on pixels or on HOG features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    from skimgclf import ImageLoader

    compute = {"pixels": flatten, "HOG": compute_hog}[features]
    return make_pipeline(
        ImageLoader(image_size=settings.image_size, color_mode="rgb"),
        FunctionTransformer(compute),
        StandardScaler(),
        # Weaker penalties are slower and less accurate on both kinds of features.
        LogisticRegression(C=0.001, max_iter=1000),
    )


def flatten(images):
    """Turn images into rows of pixels."""
    return images.reshape(len(images), -1)


def compute_hog(images):
    """Compute histograms of oriented gradients, in 8 by 8 cells an image."""
    from skimage.feature import hog

    cell = tuple(max(side // 8, 1) for side in images.shape[1:3])
    rows = [
        hog(image, pixels_per_cell=cell, cells_per_block=(2, 2), channel_axis=-1)
        for image in images
    ]
    return np.array(rows)


class KerasTutorial:
    """Bare Keras, with the network of TensorFlow's tutorial "Image classification".

    Its second network, with augmentation and dropout, for as many epochs. The tutorial
    validates on a fifth of the images; here all are trained on.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings):
        self.settings = settings

    def fit(self, paths, y):
        """Read the files and train the network."""
        import keras

        keras.utils.set_random_seed(self.settings.seed)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.network_ = self._build(len(self.classes_))
        self.network_.compile(
            optimizer="adam",
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        epochs = self.settings.epochs or TUTORIAL_EPOCHS
        images = self._read(paths)
        self.network_.fit(images, codes, epochs=epochs, batch_size=32, verbose=0)
        return self

    def predict(self, paths):
        """Predict the classes of files."""
        logits = self.network_.predict(self._read(paths), verbose=0)
        return self.classes_[logits.argmax(axis=1)]

    def _read(self, paths):
        from keras.utils import img_to_array, load_img

        size = self.settings.image_size
        return np.array([img_to_array(load_img(p, target_size=size)) for p in paths])

    def _build(self, n_classes):
        from keras import Input, Sequential, layers

        augmentation = [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.1),
            layers.RandomZoom(0.1),
        ]
        convolutions = []
        for n_filters in (16, 32, 64):
            convolutions += [
                layers.Conv2D(n_filters, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(),
            ]
        return Sequential(
            [
                Input((*self.settings.image_size, 3)),
                *augmentation,
                layers.Rescaling(1 / 255),
                *convolutions,
                layers.Dropout(0.2),
                layers.Flatten(),
                layers.Dense(128, activation="relu"),
                layers.Dense(n_classes),
            ]
        )


class Fastai:
    """fastai's xresnet18 from scratch, with its one-cycle recipe and augmentation.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings):
        self.settings = settings

    def fit(self, paths, y):
        """Train the network on files."""
        from fastai.vision import all as fastai

        fastai.set_seed(self.settings.seed)
        blocks = fastai.DataBlock(
            blocks=(fastai.ImageBlock, fastai.CategoryBlock),
            get_x=fastai.ColReader("path"),
            get_y=fastai.ColReader("label"),
            splitter=fastai.ColSplitter("is_valid"),
            item_tfms=fastai.Resize(self.settings.image_size),
            batch_tfms=fastai.aug_transforms(),
        )
        loaders = blocks.dataloaders(self._tabulate(paths, y), bs=64, num_workers=0)
        network = fastai.xresnet18(n_out=loaders.c, pretrained=False)
        self.learner_ = fastai.Learner(loaders, network)
        epochs = self.settings.epochs or FASTAI_EPOCHS
        with self.learner_.no_logging(), self.learner_.no_bar():
            self.learner_.fit_one_cycle(epochs, 5e-3)
        return self

    def predict(self, paths):
        """Predict the classes of files."""
        import pandas as pd

        loader = self.learner_.dls.test_dl(pd.DataFrame({"path": paths}))
        with self.learner_.no_bar():
            probabilities, _ = self.learner_.get_preds(dl=loader)
        classes = np.array(list(self.learner_.dls.vocab))
        return classes[probabilities.argmax(dim=1).numpy()]

    @staticmethod
    def _tabulate(paths, y):
        """Return a table of all files to train on, of which a batch also validates."""
        import pandas as pd

        rows = pd.DataFrame({"path": paths, "label": y, "is_valid": False})
        return pd.concat([rows, rows[:64].assign(is_valid=True)], ignore_index=True)


# Name on the command line -> name in the table, and the function that makes it.
WAYS = {
    "textbook": ('"textbook"', lambda s: make_kind("textbook", s)),
    "digits": ('"digits"', lambda s: make_kind("digits", s)),
    "photos": ('"photos"', lambda s: make_kind("photos", s)),
    "few_photos": ('"few_photos"', lambda s: make_kind("few_photos", s)),
    "dense": ("dense, defaults", lambda s: make_architecture("dense", s)),
    "cnn": ("cnn, defaults", lambda s: make_architecture("cnn", s)),
    "resnet": ("resnet, defaults", lambda s: make_architecture("resnet", s)),
    "cnn_by_hand": ("cnn by hand", make_cnn_by_hand),
    "pixels": (
        "LogisticRegression, pixels",
        lambda s: make_logistic_regression("pixels", s),
    ),
    "hog": ("LogisticRegression, HOG", lambda s: make_logistic_regression("HOG", s)),
    "keras": ("Keras' tutorial", KerasTutorial),
    "fastai": ("fastai, xresnet18", Fastai),
}
OURS = ("textbook", "digits", "photos", "few_photos")
OURS += ("dense", "cnn", "resnet", "cnn_by_hand")


def list_installed():
    """Return the names of the ways whose packages are installed."""
    needed = {"hog": "skimage", "fastai": "fastai"}
    return [
        name
        for name in WAYS
        if name not in needed or importlib.util.find_spec(needed[name])
    ]
