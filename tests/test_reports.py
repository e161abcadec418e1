"""Reports of skore, where it is installed, take our pipelines as they are."""

import pytest
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skimgclf import ImageLoader, KerasImageClassifier
from skimgclf.datasets import load_image_csv


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of skore's own packages, and of few images
def test_reports_of_skore_score_a_pipeline_that_takes_paths(digit_folder):
    skore = pytest.importorskip("skore")
    data = load_image_csv(digit_folder / "train.csv")
    pipeline = make_pipeline(
        ImageLoader(image_size=(8, 8)),
        KerasImageClassifier(hidden_layer_sizes=(8,), epochs=2, random_state=0),
    )
    parts = train_test_split(data.filenames, data.target, random_state=0)
    train, test, y_train, y_test = parts
    report = skore.EstimatorReport(
        pipeline, X_train=train, y_train=y_train, X_test=test, y_test=y_test
    )
    expected = report.estimator_.score(test, y_test)
    assert report.metrics.accuracy() == pytest.approx(expected)
    assert report.metrics.summarize().frame()["accuracy"] == pytest.approx(expected)
    report.metrics.confusion_matrix().plot()
    report = skore.CrossValidationReport(
        pipeline, X=data.filenames, y=data.target, splitter=2
    )
    assert "Accuracy" in str(report.metrics.accuracy())
