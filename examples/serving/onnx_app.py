"""Classify uploaded images in a web service, with a network of `export_model`.

TensorFlow and Keras aren't needed: ONNX Runtime computes, and skimgclf's `ImageLoader`
prepares the images as in training.

::

    pip install fastapi onnxruntime "pillow>=13.0" python-multipart scikit-learn uvicorn
    pip install --no-deps skimgclf
    MODEL=photos.onnx uvicorn --app-dir examples/serving onnx_app:app --port 8000
    curl --form files=@cat.jpg --form files=@dog.jpg localhost:8000/predict
"""

import contextlib
import json
import os
from pathlib import Path

import onnxruntime
from fastapi import FastAPI, HTTPException, Request, UploadFile

from skimgclf import ImageLoader
from skimgclf.exceptions import ImageLoadError

MAX_FILES, MAX_BYTES, MAX_PIXELS = 32, 20 * 2**20, 50_000_000


class Model:
    """Classify images with a network in an ONNX file.

    Parameters
    ----------
    path : str
        The file that `export_model` wrote, with its description beside it.
    """

    def __init__(self, path):
        description = json.loads(Path(f"{path}.json").read_text("utf-8"))
        self.classes = description["classes"]
        # The network takes floats in [0, 1], whatever it was trained with.
        settings = {**description["loader"], "dtype": "float32"}
        self.loader = ImageLoader(**settings, max_pixels=MAX_PIXELS)
        self.session = onnxruntime.InferenceSession(path)
        self.input_name = self.session.get_inputs()[0].name

    def predict(self, image):
        """Return the label of an image in bytes, and its probability."""
        X = self.loader.transform([image])
        (probabilities,) = self.session.run(None, {self.input_name: X})
        best = probabilities[0].argmax()
        return {
            "label": self.classes[best],
            "probability": float(probabilities[0, best]),
        }


@contextlib.asynccontextmanager
async def lifespan(app):
    """Load the model once, before the first request comes."""
    app.state.model = Model(os.environ["MODEL"])
    yield


app = FastAPI(title="Image classifier", lifespan=lifespan)


@app.get("/health")
def health():
    """Say that the model is loaded."""
    return {"status": "ok"}


@app.post("/predict")
def predict(request: Request, files: list[UploadFile]):
    """Return the label of each image, or why it can't be read.

    Without ``async``, so that each request runs in a thread of its own.
    """
    if len(files) > MAX_FILES or any(
        file.size > MAX_BYTES for file in files
    ):
        limits = f"{MAX_FILES} files of {MAX_BYTES // 2**20} MiB"
        raise HTTPException(413, f"More than {limits}.")
    return [
        {
            "file": file.filename,
            **answer(request.app.state.model, file.file.read()),
        }
        for file in files
    ]


def answer(model, image):
    """Return a prediction, or why the image can't be read."""
    try:
        return model.predict(image)
    except ImageLoadError as error:
        return {"error": error.reason}
