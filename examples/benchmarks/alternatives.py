"""What skimgclf does that the alternatives don't, each claim carried out.

Prints three tables. A row is a claim, a column a way to get there without skimgclf, and
a cell what came of a small check on real files, run just now:

- reading tables and folders: pandas, scikit-learn's `load_files`, Keras'
  `image_dataset_from_directory`
- reading images: Pillow's open, convert and resize; Keras' `load_img`; embetter's
  `ImageLoader`, whose images are resized with Pillow
- classifying them: scikeras' `KerasClassifier`, Keras' `SKLearnClassifier`, with the
  same network, epochs and batch size

embetter is optional (``pip install embetter``) and left out if it isn't installed; all
others are dependencies of skimgclf. Takes about two minutes on two cores.

Run it with ``python examples/benchmarks/alternatives.py``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import contextlib
import importlib.util
import io
import multiprocessing
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from _report import describe_run, print_table
from PIL import Image, ImageFile

# Keras, scikeras and embetter are imported where they are used, so that the processes
# which check Pillow and skimgclf alone are free of TensorFlow.

# -- Reading tables and folders: each returns paths and labels -------------------------


def load_with_skimgclf(root, csv):
    """Read a csv table if one is given, and class folders otherwise."""
    from skimgclf.datasets import load_image_csv, load_image_folder

    if csv is None:
        return load_image_folder(root, return_X_y=True)
    return load_image_csv(csv, image_dir=root, return_X_y=True)


def load_with_pandas(root, csv):
    """Read a csv table in one line of pandas, and join the folder with the ids."""
    import pandas as pd

    table = pd.read_csv(csv)
    return [f"{root}/{name}" for name in table["id"]], list(table["label"])


def load_with_sklearn(root, csv):
    """Read class folders with scikit-learn."""
    from sklearn.datasets import load_files

    data = load_files(root, load_content=False)
    return list(data.filenames), [data.target_names[code] for code in data.target]


def load_with_keras(root, csv):
    """Read class folders with Keras."""
    import keras

    data = keras.utils.image_dataset_from_directory(root, label_mode=None)
    return data.file_paths, [Path(path).parent.name for path in data.file_paths]


TABLE_READERS = {
    "skimgclf.datasets": load_with_skimgclf,
    "pandas.read_csv": load_with_pandas,
}
FOLDER_READERS = {
    "skimgclf.datasets": load_with_skimgclf,
    "sklearn load_files": load_with_sklearn,
    "keras image_dataset_from_directory": load_with_keras,
}


def check_ids_stay_text(load, folder):
    """The image 007.png is found for the id 007."""
    save_gray(folder / "007.png")
    paths, _ = load(folder, write_csv(folder, "id,label", "007,bond"))
    return "007" in Path(paths[0]).name, f"{Path(paths[0]).name}"


def check_class_na_stays(load, folder):
    """A class may be called NA."""
    save_gray(folder / "a.png")
    _, labels = load(folder, write_csv(folder, "id,label", "a.png,NA"))
    return labels[0] == "NA", f"{labels[0]}"


def check_extra_field_is_refused(load, folder):
    """A row with a field too many doesn't shift the columns."""
    save_gray(folder / "a.png")
    csv = write_csv(folder, "id,label", "a.png,cat,?")
    try:
        paths, labels = load(folder, csv)
    except ValueError:
        return True
    return False, f"id {Path(paths[0]).name}, label {labels[0]}"


def check_missing_image_is_found(load, folder):
    """A row without an image is an error that says in which line it stands."""
    save_gray(folder / "a.png")
    csv = write_csv(folder, "id,label", "a.png,cat", "b.png,dog")
    try:
        load(folder, csv)
    except ValueError as error:
        return "line 3" in str(error) and "b.png" in str(error)
    return False


def check_hidden_files_are_no_samples(load, folder):
    """What macOS leaves in folders isn't taken for images."""
    names = ["cat/a.png", "cat/b.png", "dog/c.png"]
    clutter = ["cat/._a.png", "cat/.DS_Store"]
    for name in names:
        save_gray(folder / name)
    for name in clutter:
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    paths, _ = load(folder, None)
    return len(paths) == 3, f"{len(paths)} samples of 3 images"


def check_tiff_is_taken(load, folder):
    """TIFF and WEBP files are images."""
    names = ["cat/a.tif", "cat/b.webp", "dog/c.png"]
    for name in names:
        save_gray(folder / name)
    paths, _ = load(folder, None)
    return len(paths) == 3, f"{len(paths)} samples of 3 images"


TABLE_CHECKS = {
    "the id `007` stays `007`": check_ids_stay_text,
    "a class called `NA` stays": check_class_na_stays,
    "a row with a field too many is refused": check_extra_field_is_refused,
    "a row without an image is named, with its line": check_missing_image_is_found,
}
FOLDER_CHECKS = {
    "hidden files are no samples": check_hidden_files_are_no_samples,
    "`.tif` and `.webp` files aren't left out": check_tiff_is_taken,
}

# -- Reading images: each returns an array (n, height, width, channels) in [0, 1] ------


def read_with_skimgclf(paths, size, color_mode):
    """Read with skimgclf's transformer."""
    from skimgclf import ImageLoader

    return ImageLoader(image_size=size, color_mode=color_mode).transform(paths)


def read_with_pillow(paths, size, color_mode):
    """Read with the three lines of Pillow that stand in most tutorials."""
    mode = {"grayscale": "L", "rgb": "RGB"}[color_mode]
    images = [Image.open(path).convert(mode).resize(size[::-1]) for path in paths]
    return stack_pixels(images)


def read_with_keras(paths, size, color_mode):
    """Read with Keras."""
    import keras

    options = {"color_mode": color_mode, "target_size": size}
    images = [keras.utils.load_img(path, **options) for path in paths]
    return stack_pixels(images)


def read_with_embetter(paths, size, color_mode):
    """Read with embetter, which doesn't resize: Pillow does."""
    from embetter.vision import ImageLoader

    mode = {"grayscale": "L", "rgb": "RGB"}[color_mode]
    images = ImageLoader(convert=mode).transform(paths)
    return stack_pixels([image.resize(size[::-1]) for image in images])


def stack_pixels(images):
    """Make one array of PIL images, divided by 255 as everybody does."""
    pixels = np.stack([np.asarray(image) for image in images]) / 255
    return pixels if pixels.ndim == 4 else pixels[..., np.newaxis]


READERS = {
    "skimgclf ImageLoader": read_with_skimgclf,
    "Pillow": read_with_pillow,
    "keras load_img": read_with_keras,
}
IMPORTS = {
    read_with_skimgclf: "from skimgclf import ImageLoader",
    read_with_pillow: "from PIL import Image",
    read_with_keras: "from keras.utils import load_img",
    read_with_embetter: "from embetter.vision import ImageLoader",
}
if importlib.util.find_spec("embetter") is not None:
    READERS["embetter ImageLoader"] = read_with_embetter


def check_turned_photo_is_upright(read, folder):
    """A photo that a phone stored lying on its side is read upright."""
    upright = np.zeros((60, 40), dtype=np.uint8)
    upright[:20] = 255  # a bright sky
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned; to be shown turned by 90 degrees clockwise
    lying = Image.fromarray(np.rot90(upright).copy())
    lying.save(folder / "photo.jpg", exif=exif)
    pixels = read([folder / "photo.jpg"], (60, 40), "grayscale")[0, :, :, 0]
    return np.abs(pixels - upright / 255).mean() < 0.05


def check_deep_gray_keeps_brightness(read, folder):
    """A ramp from black to white in 16 bits has the mean 0.5."""
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16)
    Image.fromarray(np.tile(ramp, (64, 1))).save(folder / "deep.png")
    mean = read([folder / "deep.png"], (32, 32), "grayscale").mean()
    return abs(mean - 0.5) < 0.01, f"mean {mean:.2f}, not 0.50"


def check_hidden_colours_stay_hidden(read, folder):
    """The red that an editor left behind full transparency isn't seen."""
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(folder / "clear.png")
    pixels = read([folder / "clear.png"], (10, 10), "rgb")[0, 0, 0]
    return bool((pixels == 1).all()), f"pixels {pixels.round().astype(int).tolist()}"


def check_fine_pattern_becomes_gray(read, folder):
    """A chessboard of single pixels, made smaller, is gray: no pixels are dropped."""
    board = np.indices((256, 256)).sum(axis=0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(folder / "board.png")
    pixels = read([folder / "board.png"], (32, 32), "grayscale")
    return np.abs(
        pixels - 0.5
    ).max() < 0.05, f"{pixels.min():.0f} to {pixels.max():.0f}"


def check_all_bad_files_are_named(read, folder):
    """One error names every file that can't be read."""
    save_gray(folder / "good.png")
    (folder / "page.jpg").write_text("<html>404 Not Found</html>")
    save_cut_jpeg(folder / "cut.jpg")
    names = ["cut.jpg", "page.jpg"]
    try:
        read([folder / name for name in ["good.png", *names]], (28, 28), "grayscale")
    except Exception as error:
        n_named = sum(name in str(error) for name in names)
        return n_named == 2, f"names {n_named} of 2"
    return False, "no error"


def check_cut_file_is_an_error(read, folder):
    """A cut file is an error even after somebody told Pillow to fill it with gray."""
    save_cut_jpeg(folder / "cut.jpg")
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        read([folder / "cut.jpg"], (28, 28), "grayscale")
    except Exception:
        return True
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    return False, "read in part"


def check_pipe_does_not_hang(read, folder):
    """A named pipe among the files is an error at once."""
    os.mkfifo(folder / "pipe.png")
    save_gray(folder / "good.png")
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=read_pipe, args=(read, folder, sender))
    process.start()
    try:
        receiver.recv()  # everything is imported
        return receiver.poll(5), "hangs"
    finally:
        process.kill()
        process.join()


def read_pipe(read, folder, sender):
    """Tell when a good file is read, and when a named pipe made an error."""
    read([folder / "good.png"], (28, 28), "grayscale")
    sender.send("ready")
    with contextlib.suppress(Exception):
        read([folder / "pipe.png"], (28, 28), "grayscale")
    sender.send("done")


def check_import_is_light(read, folder):
    """Importing what reads images doesn't import TensorFlow."""
    code = f"import sys; {IMPORTS[read]}; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE)
    return done.stdout.strip() == b"False"


IMAGE_CHECKS = {
    "a photo that its EXIF block turns is upright": check_turned_photo_is_upright,
    "16-bit gray keeps its brightness": check_deep_gray_keeps_brightness,
    "colours under transparency stay hidden": check_hidden_colours_stay_hidden,
    "resizing is antialiased unless told otherwise": check_fine_pattern_becomes_gray,
    "one error names all bad files": check_all_bad_files_are_named,
    "a cut file is an error, whatever Pillow's settings": check_cut_file_is_an_error,
    "a named pipe is an error and doesn't hang": check_pipe_does_not_hang,
    "importing it doesn't import TensorFlow": check_import_is_light,
}

# -- Classifying: each makes an estimator ----------------------------------------------

EPOCHS, N_UNITS = 15, 64


def make_skimgclf(**parameters):
    """Make skimgclf's classifier."""
    from skimgclf import KerasImageClassifier

    return KerasImageClassifier(
        hidden_layer_sizes=(N_UNITS,), **{"epochs": EPOCHS, **parameters}
    )


def make_scikeras(**parameters):
    """Make scikeras' classifier."""
    from scikeras.wrappers import KerasClassifier

    def build(meta, compile_kwargs):
        network = build_network(meta["X_shape_"][1:], meta["n_classes_"])
        loss = "sparse_categorical_crossentropy"
        network.compile(loss=loss, optimizer=compile_kwargs["optimizer"])
        return network

    parameters = {"epochs": EPOCHS, "optimizer": "adam", **parameters}
    return KerasClassifier(build, verbose=0, **parameters)


def make_keras(**parameters):
    """Make Keras' own wrapper, which has no parameters for training and no seed."""
    from keras.wrappers import SKLearnClassifier

    def build(X, y):
        network = build_network(X.shape[1:], y.shape[1])
        network.compile("adam", "categorical_crossentropy")
        return network

    parameters.pop("random_state", None)
    fit_kwargs = {"epochs": EPOCHS, "verbose": 0}
    return SKLearnClassifier(build, fit_kwargs=fit_kwargs, **parameters)


def build_network(image_shape, n_classes):
    """Build the network that skimgclf's classifier builds."""
    import keras

    inputs = keras.Input(image_shape)
    x = keras.layers.Flatten()(inputs)
    x = keras.layers.Dense(N_UNITS, "relu")(x)
    return keras.Model(inputs, keras.layers.Dense(n_classes, "softmax")(x))


CLASSIFIERS = {
    "skimgclf KerasImageClassifier": make_skimgclf,
    "scikeras KerasClassifier": make_scikeras,
    "keras SKLearnClassifier": make_keras,
}


def load_rows():
    """Return 600 handwritten digits as rows in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return (X[:600] / 16).astype("float32"), y[:600]


def load_images():
    """Return them as images (600, 8, 8, 1)."""
    X, y = load_rows()
    return X.reshape(-1, 8, 8, 1), y


def check_is_classifier(make, folder):
    """scikit-learn recognises a classifier."""
    from sklearn.base import is_classifier

    return is_classifier(make())


def check_sorted_labels(make, folder):
    """Cross-validation stratifies: the order of the samples makes no difference."""
    from sklearn.model_selection import cross_val_score

    X, y = load_rows()
    accuracies = {}
    for name, order in {"sorted": np.argsort(y), "shuffled": np.arange(len(y))}.items():
        scores = cross_val_score(
            make(random_state=0), X[order], y[order], cv=3, error_score="raise"
        )
        accuracies[name] = scores.mean()
    detail = f"{accuracies['sorted']:.2f} sorted, {accuracies['shuffled']:.2f} shuffled"
    return abs(np.subtract(*accuracies.values())) < 0.1, detail, "always"


def check_images_are_taken(make, folder):
    """X may be four-dimensional."""
    X, y = load_images()
    return make().fit(X, y).predict(X).shape == y.shape


def check_string_labels(make, folder):
    """Labels may be strings, and come back as such."""
    X, y = load_rows()
    predicted = make().fit(X, y.astype(str)).predict(X)
    return set(predicted) <= set(y.astype(str))


def check_one_image(make, folder):
    """The probabilities of a single image are one row."""
    X, y = load_rows()
    shape = make().fit(X, y).predict_proba(X[:1]).shape
    return shape == (1, 10), f"shape {shape}"


def check_misspelt_parameter(make, folder):
    """A parameter that doesn't exist is refused."""
    try:
        make(epohcs=3)
    except TypeError:
        return True
    return False


def check_clone_keeps_parameters(make, folder):
    """A clone, as each candidate of a search is one, has the same parameters."""
    from sklearn.base import clone

    before = make()
    after = clone(before).get_params(deep=False)
    lost = [
        name
        for name, value in before.get_params(deep=False).items()
        if after[name] != value
    ]
    return not lost, f"loses {', '.join(lost)}"


def check_voting(make, folder):
    """Soft voting takes it."""
    from sklearn.ensemble import VotingClassifier

    X, y = load_rows()
    VotingClassifier([("only", make())], voting="soft").fit(X, y)
    return True


def check_roc_auc(make, folder):
    """A binary problem can be scored by the area under the ROC curve."""
    from sklearn.metrics import get_scorer

    X, y = load_rows()
    X, y = X[y < 2], y[y < 2]
    return get_scorer("roc_auc")(make().fit(X, y), X, y) > 0.9


def check_other_float_type(make, folder):
    """What was fitted on float32 predicts float64."""
    X, y = load_rows()
    return len(make().fit(X, y).predict(X.astype("float64"))) == len(y)


def check_weights_are_untouched(make, folder):
    """The caller's sample_weight stays what it was."""
    X, y = load_rows()
    weights = np.ones(len(y))
    make(class_weight="balanced").fit(X, y, sample_weight=weights)
    return bool((weights == 1).all()), "overwritten"


def check_random_states_differ(make, folder):
    """Two generators with different seeds give different networks."""
    X, y = load_rows()
    probabilities = [
        make(random_state=np.random.RandomState(seed)).fit(X, y).predict_proba(X)
        for seed in (5, 6)
    ]
    return not np.array_equal(*probabilities), "equal"


def check_optimizer_instance_refits(make, folder):
    """An estimator with an optimizer instance can be fitted twice."""
    import keras

    X, y = load_rows()
    make(optimizer=keras.optimizers.Adam()).fit(X, y).fit(X, y)
    return True


def check_seeded_fit_is_local(make, folder):
    """After a seeded fit, other Keras code in the process works as before."""
    code = f"import alternatives; alternatives.fit_twice(alternatives.{make.__name__})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True
    )
    *_, last_line = done.stderr.splitlines() or [""]
    return done.returncode == 0, last_line.partition(":")[0]


def fit_twice(make):
    """Fit a classifier with a seed, then a network of Keras' own without one."""
    import keras

    X, y = load_rows()
    make(random_state=0).fit(X, y)
    network = build_network(X.shape[1:], 10)
    dropout = keras.Sequential([network, keras.layers.Dropout(0.5)])
    dropout.compile("adam", "sparse_categorical_crossentropy")
    dropout.fit(X, y, verbose=0)


CLASSIFIER_CHECKS = {
    "`is_classifier` is True": check_is_classifier,
    "searches stratify: accuracy on class-sorted labels": check_sorted_labels,
    "takes images (4-D)": check_images_are_taken,
    "takes string labels": check_string_labels,
    "`predict_proba` of one image is 2-D": check_one_image,
    "a misspelt parameter is refused": check_misspelt_parameter,
    "`clone` keeps all parameters": check_clone_keeps_parameters,
    "`VotingClassifier` takes it": check_voting,
    '`scoring="roc_auc"` works': check_roc_auc,
    "fitted on float32, predicts float64": check_other_float_type,
    "leaves the caller's `sample_weight` as it was": check_weights_are_untouched,
    "different `RandomState`s differ": check_random_states_differ,
    "an optimizer instance can be fitted twice": check_optimizer_instance_refits,
    "a seeded fit leaves Keras' settings alone": check_seeded_fit_is_local,
}

# -- Carrying them out -----------------------------------------------------------------


def save_gray(path):
    """Save a small gray image."""
    path.parent.mkdir(exist_ok=True)
    Image.new("L", (30, 30), 128).save(path)


def save_cut_jpeg(path):
    """Save a JPEG file that lacks its second half."""
    encoded = io.BytesIO()
    Image.effect_noise((100, 100), 50).save(encoded, "JPEG")
    path.write_bytes(encoded.getvalue()[: len(encoded.getvalue()) // 2])


def write_csv(folder, *lines):
    """Write a csv table and return its path."""
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def run_check(check, tool):
    """Run a check on a tool and say in a word or two what came of it.

    A check returns whether the claim holds, or that and a detail for when it doesn't;
    a third value says that the detail is always worth showing. An error is a no.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            result = check(tool, Path(folder))
        except Exception as error:
            result = False, type(error).__name__
    holds, detail, *always = result if isinstance(result, tuple) else (result, "")
    word = "yes" if holds else "no"
    return f"{word} ({detail})" if detail and (always or not holds) else word


def compare(title, checks, tools):
    """Run all checks on all tools and print a table."""
    rows = []
    for claim, check in checks.items():
        print(f"{title}: {claim} ...", file=sys.stderr, flush=True)
        rows.append([claim, *(run_check(check, tool) for tool in tools.values())])
    print()
    print_table([title, *tools], rows)


def main():
    """Print the three tables."""
    packages = ["pillow", "pandas", "scikit-learn", "scikeras", "keras", "tensorflow"]
    print(describe_run(*packages, "embetter"))
    if "embetter ImageLoader" not in READERS:
        print("embetter isn't installed and is left out (pip install embetter).")
    compare("tables", TABLE_CHECKS, TABLE_READERS)
    compare("folders", FOLDER_CHECKS, FOLDER_READERS)
    compare("images", IMAGE_CHECKS, READERS)
    compare("classifiers", CLASSIFIER_CHECKS, CLASSIFIERS)


if __name__ == "__main__":
    main()
