"""Ways to read tables and folders of images, and checks of what they do.

A reader takes a folder and a csv table (or None) and returns paths and labels. A check
takes a reader and an empty folder, and returns whether the claim holds, or that and
what came instead.
"""

from pathlib import Path

from PIL import Image


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
    """Check that the image 007.png is found for the id 007."""
    save_gray(folder / "007.png")
    paths, _ = load(folder, write_csv(folder, "id,label", "007,bond"))
    name = Path(paths[0]).stem
    return name == "007" or (False, f"id {name}")


def check_class_na_stays(load, folder):
    """Check that a class may be called NA."""
    save_gray(folder / "a.png")
    _, labels = load(folder, write_csv(folder, "id,label", "a.png,NA"))
    return labels[0] == "NA" or (False, f"{labels[0]}")


def check_extra_field_is_refused(load, folder):
    """Check that a row with a field too many doesn't shift the columns."""
    save_gray(folder / "a.png")
    csv = write_csv(folder, "id,label", "a.png,cat,?")
    try:
        paths, labels = load(folder, csv)
    except ValueError:
        return True
    return False, f"id {Path(paths[0]).name}, label {labels[0]}"


def check_missing_image_is_found(load, folder):
    """Check that a row without an image is an error that says in which line."""
    save_gray(folder / "a.png")
    csv = write_csv(folder, "id,label", "a.png,cat", "b.png,dog")
    try:
        load(folder, csv)
    except ValueError as error:
        return "line 3" in str(error) and "b.png" in str(error)
    return False


def check_hidden_files_are_no_samples(load, folder):
    """Check that what macOS leaves in folders isn't taken for images."""
    names = ["cat/a.png", "cat/b.png", "dog/c.png"]
    clutter = ["cat/._a.png", "cat/.DS_Store"]
    for name in names:
        save_gray(folder / name)
    for name in clutter:
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    paths, _ = load(folder, None)
    return len(paths) == 3 or (False, f"{len(paths)} samples of 3 images")


def check_tiff_is_taken(load, folder):
    """Check that TIFF and WEBP files are images."""
    names = ["cat/a.tif", "cat/b.webp", "dog/c.png"]
    for name in names:
        save_gray(folder / name)
    paths, _ = load(folder, None)
    return len(paths) == 3 or (False, f"{len(paths)} samples of 3 images")


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


def save_gray(path):
    """Save a small gray image."""
    path.parent.mkdir(exist_ok=True)
    Image.new("L", (30, 30), 128).save(path)


def write_csv(folder, *lines):
    """Write a csv table and return its path."""
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
