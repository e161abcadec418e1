"""From image files to a tuned, scored and saved classifier.

Real handwritten digits (1,797 small PNG files that are written from scikit-learn's own
data, so nothing is downloaded) are read from a csv table and from class folders, split,
classified by dense and convolutional networks in a grid search, scored, saved with
joblib, and loaded in a new process that predicts an unlabelled csv table.

Run it with ``python examples/quickstart.py``. It takes half a minute on two cores and
writes into the folder ``skimgclf-quickstart`` below the current one.
"""

import os
import subprocess
import sys
from pathlib import Path

import joblib
import pandas as pd
from sklearn.metrics import classification_report
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from skimgclf import ImageLoader, KerasImageClassifier
from skimgclf.datasets import (
    load_digit_images,
    load_image_csv,
    load_image_folder,
)

# Dense networks of the textbook's size and a larger one, against convolutions.
GRID = [
    {
        "classify__architecture": ["dense"],
        "classify__hidden_layer_sizes": [(40, 20, 10), (128, 64)],
    },
    {
        "classify__architecture": ["cnn"],
        "classify__conv_filters": [(16, 32)],
        "classify__hidden_layer_sizes": [(64,)],
    },
]

# What a colleague runs later, with the saved file and an unlabelled table.
PREDICT = """
import sys
import joblib
import pandas as pd
from skimgclf.datasets import load_image_csv

model_file, csv, image_dir, output = sys.argv[1:]
pipeline = joblib.load(model_file)
data = load_image_csv(csv, image_dir=image_dir, label_column=None)
probabilities = pipeline.predict_proba(data.filenames)
table = pd.DataFrame({
    "id": data.frame["id"],
    "label": pipeline.classes_[probabilities.argmax(axis=1)],
    "probability": probabilities.max(axis=1),
})
table.to_csv(output, index=False)
"""


def main(folder="skimgclf-quickstart", random_state=0):
    """Run the whole job in `folder` and return the accuracy on the test images."""
    folder = Path(folder)
    folder.mkdir(exist_ok=True)

    digits = load_digit_images(folder)
    by_csv = load_image_csv(digits.csv)
    by_folder = load_image_folder(digits.root)
    print(f"{len(by_csv.filenames)} images in {digits.csv}")
    print(
        f"{len(by_folder.filenames)} images in the class folders of {digits.root}"
    )

    paths, test_paths, y, y_test = train_test_split(
        by_csv.filenames,
        by_csv.target,
        test_size=0.2,
        random_state=42,
        stratify=by_csv.target,
    )

    print("\nSearching: 3 networks, 2 folds each")
    pipeline = Pipeline(
        [
            ("load", ImageLoader()),
            (
                "classify",
                KerasImageClassifier(epochs=15, random_state=random_state),
            ),
        ]
    )
    search = GridSearchCV(
        pipeline, GRID, cv=2, verbose=3, error_score="raise"
    )
    search.fit(paths, y)
    print(f"\n{summarize(search)}\n")

    accuracy = search.score(test_paths, y_test)
    print(
        classification_report(y_test, search.predict(test_paths), digits=3)
    )
    print(
        f"Accuracy of the best on the {len(y_test)} test images: {accuracy:.4f}"
    )

    model_file = folder / "model.joblib"
    joblib.dump(search.best_estimator_, model_file)
    table = predict_elsewhere(model_file, digits.root, test_paths, folder)
    equal = (table["label"] == search.predict(test_paths)).all()
    print(
        f"\nSaved as {model_file}; loaded in a new process, which predicted"
    )
    print(
        f"{folder / 'predictions.csv'}: the labels are {'equal' if equal else 'NOT'}"
    )
    print(table.head(3).to_string(index=False))
    return accuracy


def summarize(search):
    """Return a table of the candidates, the best first."""
    results = pd.DataFrame(search.cv_results_).sort_values(
        "rank_test_score"
    )
    names = [
        "param_classify__architecture",
        "param_classify__hidden_layer_sizes",
    ]
    table = results[[*names, "mean_test_score", "mean_fit_time"]]
    table.columns = [
        name.removeprefix("param_classify__") for name in table.columns
    ]
    return table.to_string(index=False, float_format="{:.3f}".format)


def predict_elsewhere(model_file, image_dir, paths, folder):
    """Write an unlabelled csv, predict it in a new process, return what it wrote."""
    test_csv, output = folder / "test.csv", folder / "predictions.csv"
    ids = [os.path.relpath(path, image_dir) for path in paths]
    pd.DataFrame({"id": ids}).to_csv(test_csv, index=False)
    arguments = map(str, (model_file, test_csv, image_dir, output))
    subprocess.run([sys.executable, "-c", PREDICT, *arguments], check=True)
    return pd.read_csv(output, dtype={"id": str, "label": str})


if __name__ == "__main__":
    main()
