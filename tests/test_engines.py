"""Searches on Ray and Spark, on request and where they are installed."""

import os
import sys

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skimgclf import KerasImageClassifier


def fit_on_ray(search, X, y):
    import ray
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False)
    register_ray()
    with joblib.parallel_config(backend="ray", n_jobs=2):
        search.fit(X, y)
    ray.shutdown()


def fit_on_spark(search, X, y):
    from joblibspark import register_spark

    os.environ["PYSPARK_PYTHON"] = sys.executable
    register_spark()
    with joblib.parallel_config(backend="spark", n_jobs=2):
        search.fit(X, y)


@pytest.mark.slow
# What these engines warn of is their own.
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("package", "fit"),
    [("ray", fit_on_ray), ("joblibspark", fit_on_spark)],
    ids=["ray", "spark"],
)
def test_engine_gives_the_same_scores(digits, package, fit):
    pytest.importorskip(package)
    X, y = digits
    classifier = KerasImageClassifier(hidden_layer_sizes=(8,), epochs=1, random_state=0)
    search = GridSearchCV(
        classifier,
        {"learning_rate": [0.01, 0.03]},
        cv=2,
        refit=False,
        error_score="raise",
    )
    expected = search.fit(X, y).cv_results_["mean_test_score"]
    fit(search, X, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected)
