"""Classify uploaded images in a web service, with a model of `save_model`.

::

    pip install "skimgclf[pretrained,serve]"
    MODEL=photos.model uvicorn --app-dir examples/serving app:app --port 8000
    curl --form files=@cat.jpg --form files=@dog.jpg localhost:8000/predict

http://localhost:8000/docs has a form to try it in a browser.
"""

import contextlib
import os

import numpy as np
from fastapi import FastAPI, HTTPException, Request, UploadFile

from skimgclf import load_model, predict_frame

MAX_FILES, MAX_BYTES, MAX_PIXELS = 32, 20 * 2**20, 50_000_000


@contextlib.asynccontextmanager
async def lifespan(app):
    """Load the model and predict once, before the first request comes."""
    pipeline = load_model(os.environ["MODEL"])
    pipeline[0].set_params(max_pixels=MAX_PIXELS, n_jobs=1, verbose=0)
    predict_frame(pipeline, [np.zeros((1, 1, 3), dtype="uint8")])
    app.state.pipeline = pipeline
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
    images = [file.file.read() for file in files]
    table = predict_frame(
        request.app.state.pipeline, images, on_error="fill"
    )
    return [
        {
            "file": file.filename,
            "label": row.label,
            "probability": row.probability,
        }
        if row.reason is None
        else {"file": file.filename, "error": row.reason}
        for file, row in zip(files, table.itertuples(), strict=True)
    ]
