"""Copies of models through files and pickles, and the parts of their files."""

import io
import pickle

import joblib

from skimgclf import load_model, save_model
from skimgclf.saving._file_layout import read_model_file


def save_and_load(model, folder, *, trusted=False, **options):
    save_model(model, folder / "saved", **options)
    return load_model(folder / "saved", trusted=trusted)


def saved_copy(classifier, folder):
    return save_and_load(classifier, folder, include_optimizer=True)


def read_parts(path):
    document, arrays, _ = read_model_file(path)
    return document, arrays


def joblib_copy(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    file.seek(0)
    return joblib.load(file)


def pickle_copy(estimator):
    return pickle.loads(pickle.dumps(estimator))
