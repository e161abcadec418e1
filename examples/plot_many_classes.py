"""
Many classes: which are taken for which
=======================================

A confusion matrix of ten classes is read number by number. With thirty or more, a
matrix shows where to look, and tables say what is there: the classes that are found
least, and the pairs that are taken for each other.
"""

# %%
# Thirty-six signs
# ----------------
#
# Capital letters and digits, drawn in twenty fonts that come with matplotlib, each
# three times, turned and moved a little.

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from skimgclf import ImageGridDisplay

FONTS = [
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique"),
    *("DejaVuSans-BoldOblique", "DejaVuSansMono", "DejaVuSansMono-Bold"),
    *("DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic"),
    *("DejaVuSerif-BoldItalic", "STIXGeneral", "STIXGeneralBol"),
    *("STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
]
SIGNS = {f"letter {sign}": sign for sign in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
SIGNS |= {f"digit {sign}": sign for sign in "0123456789"}
SIZE = 24
folder = Path(plt.matplotlib.get_data_path(), "fonts", "ttf")
random = np.random.default_rng(0)


def draw_sign(sign, font):
    """Draw a sign in white on black, turned and moved a little."""
    image = Image.new("L", (SIZE, SIZE))
    place = random.uniform(-2, 2, size=2) + SIZE / 2
    ImageDraw.Draw(image).text(tuple(place), sign, 255, font, anchor="mm")
    return image.rotate(random.uniform(-12, 12), Image.Resampling.BILINEAR)


images, labels, groups = [], [], []
for name in FONTS:
    font = ImageFont.truetype(str(folder / f"{name}.ttf"), size=17)
    for label, sign in SIGNS.items():
        for _ in range(3):
            images.append(np.asarray(draw_sign(sign, font)))
            labels.append(label)
            groups.append(name)
X = np.stack(images)[..., np.newaxis]
y, groups = np.array(labels), np.array(groups)
print(f"{len(X)} images of {len(SIGNS)} classes")
rows = random.choice(len(X), size=16, replace=False)
ImageGridDisplay(X[rows], y[rows]).plot(n_columns=8)

# %%
# Test with other fonts
# ---------------------
#
# All images of a font are on one side of the split, so that the score is that of fonts
# which the network has never seen. A random split would flatter it.

from sklearn.model_selection import GroupShuffleSplit

from skimgclf import KerasImageClassifier

splitter = GroupShuffleSplit(n_splits=1, test_size=0.3, random_state=0)
train, test = next(splitter.split(X, y, groups))
classifier = KerasImageClassifier(
    "cnn",
    conv_filters=(16, 32),
    hidden_layer_sizes=(64,),
    learning_rate=0.003,
    epochs=8,
    random_state=0,
)
classifier.fit(X[train], y[train])
X_test, y_test = X[test], y[test]
proba = classifier.predict_proba(X_test)
predicted = classifier.classes_[proba.argmax(axis=1)]
print(f"accuracy with other fonts: {(predicted == y_test).mean():.3f}")

# %%
# The matrix
# ----------
#
# Shares of each true class instead of counts, no numbers in the cells, small names, and
# a square root in the colours, so that small shares can be seen as well.

from matplotlib.colors import PowerNorm
from sklearn.metrics import ConfusionMatrixDisplay

figure, ax = plt.subplots(figsize=(9, 8.5), layout="constrained")
display = ConfusionMatrixDisplay.from_predictions(
    y_test,
    predicted,
    normalize="true",
    include_values=False,
    xticks_rotation="vertical",
    cmap="Blues",
    im_kw={"norm": PowerNorm(0.5, vmin=0, vmax=1)},
    colorbar=False,
    ax=ax,
)
ax.tick_params(labelsize=8)
bar = figure.colorbar(display.im_, ax=ax, shrink=0.6)
bar.set_label("share of the true class")

# %%
# The classes that do worst
# -------------------------
#
# Recall is the share of a class that was found, precision the share of the answers with
# this name that are right.

import pandas as pd
from sklearn.metrics import classification_report

report = classification_report(
    y_test, predicted, output_dict=True, zero_division=0
)
by_class = pd.DataFrame(report).T.loc[classifier.classes_]
by_class["support"] = by_class["support"].astype(int)
print(by_class.sort_values("f1-score").head(8).round(2).to_string())

# %%
# The largest confusions
# ----------------------
#
# Each row is a cell of the matrix beside its diagonal.

pairs = pd.DataFrame({"true": y_test, "predicted": predicted})
errors = pairs[pairs["true"] != pairs["predicted"]]
largest = errors.value_counts().rename("images").reset_index()
n_of_true = largest["true"].map(pairs["true"].value_counts())
largest["share"] = largest["images"] / n_of_true
print(largest.head(8).round(2).to_string(index=False))

# %%
# And the images of the first row, the surest first. Whether such a pair can be told
# apart at all, or needs larger images, more of them or one name for both, is seen here.

true, taken_for = largest.loc[0, ["true", "predicted"]]
is_pair = (y_test == true) & (predicted == taken_for)
ImageGridDisplay.from_predictions(
    X_test[is_pair],
    y_test[is_pair],
    predicted[is_pair],
    proba[is_pair],
    classes=classifier.classes_,
    n_images=8,
    n_columns=8,
)
