"""List the options of the shell: the one table from parameter to option."""

import argparse
import dataclasses
import shlex

from skimgclf._shell.forms import (
    COLOUR,
    COUNT,
    FILE_OR_NAME,
    FLAG,
    FRACTION,
    IMAGE_SIZE,
    JOBS,
    KERNEL,
    LAYERS,
    NAMES,
    NUMBER,
    PATH,
    PATHS,
    SEED,
    SEPARATOR,
    SIZES,
    TEXT,
    WEIGHTS,
    Form,
    names_of,
)


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of the shell.

    Attributes
    ----------
    name : str
        The name of the parameter; with dashes, the name of the option.
    form : Form
        How its values are written.
    help : str
        The parameter, in a few words.
    steps : tuple of str
        The steps of a pipeline that have the parameter.
    default : object
        The value without the option, unless it is a parameter of a step.
    """

    name: str
    form: Form
    help: str
    steps: tuple = ()
    default: object = None

    @property
    def flag(self):
        """Return the option as it is typed."""
        return name_flag(self.name)

    @property
    def is_path(self):
        """Tell whether values may be paths."""
        return self.form in PATHS

    def add_to(self, parser, **settings):
        """Add the option to a parser of argparse."""
        # "none" is a value, too, so that an option that isn't given has no attribute.
        default = argparse.SUPPRESS if self.steps else self.default
        settings = {"default": default, "help": self.help} | settings
        if self.form is FLAG:
            action = argparse.BooleanOptionalAction
            parser.add_argument(self.flag, action=action, **settings)
        else:
            settings = {"type": self.form.read, "metavar": self.form.metavar} | settings
            action = parser.add_argument(self.flag, **settings)
            if self.form.choices:
                # Not `choices`: argparse compares them after "none" has become None.
                action.completer = lambda **_: self.form.choices

    def describe(self, value):
        """Write the option with a value, as one types it."""
        if self.form is FLAG:
            return self.flag if value else self.flag.replace("--", "--no-", 1)
        text = "tab" if value == "\t" else self.form.write(value)
        return f"{self.flag} {shlex.quote(text)}"


def name_flag(name):
    """Write the option of a parameter."""
    return f"--{name.replace('_', '-')}"


def _of_steps(steps, *options):
    """Return options for a parameter of each of some steps of a pipeline."""
    return [dataclasses.replace(option, steps=steps) for option in options]


# A line for each parameter that a shell user needs; tests/test_cli_options.py has the
# reasons why others have none.
PARAMETERS = [
    *_of_steps(
        ("load",),
        Option("image_size", IMAGE_SIZE, "size that images are resized to"),
        Option(
            "color_mode", names_of("grayscale", "rgb", "rgba"), "channels of images"
        ),
        Option(
            "resize_mode",
            names_of("stretch", "crop", "pad"),
            "change of images of another aspect ratio",
        ),
        Option(
            "interpolation",
            names_of("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"),
            "filter for resizing",
        ),
        Option(
            "background",
            COLOUR,
            "colour behind transparent and around padded images, such as white, "
            "'#ff8000' or 255,128,0",
        ),
        Option("color_management", FLAG, "convert colours to sRGB by their profiles"),
        Option("lazy", FLAG, "decode batch by batch, for more images than memory"),
    ),
    *_of_steps(
        ("embed",),
        Option(
            "backbone",
            FILE_OR_NAME,
            "pretrained network of --kind few_photos, such as EfficientNetLite1",
        ),
        Option("pooling", names_of("avg", "max"), "pooling of its feature maps"),
    ),
    *_of_steps(
        ("classify",),
        Option(
            "architecture",
            FILE_OR_NAME,
            "dense, cnn, resnet, the name of a pretrained network, or a .keras file",
        ),
        Option(
            "hidden_layer_sizes", SIZES, "units of each dense layer, such as 128,64"
        ),
        Option("conv_filters", SIZES, "filters of each stage, such as 32,64"),
        Option("kernel_size", KERNEL, "size of the convolutions of cnn, such as 3"),
        Option("activation", TEXT, "activation, such as relu or gelu"),
        Option("batch_norm", FLAG, "normalize the output of each layer"),
        Option("dropout", NUMBER, "fraction of units dropped in training"),
        Option(
            "augmentation",
            NAMES,
            "random changes of training images, of flip, crop, erase, light and "
            "strong; or none",
        ),
        Option("mixup", NUMBER, "strength of mixing images in training; 0 for none"),
        Option(
            "label_smoothing", NUMBER, "fraction of a label spread over all classes"
        ),
        Option(
            "test_time_augmentation",
            names_of("flip", "none"),
            "predict images and their mirror images, and average both; or none",
        ),
        Option("epochs", COUNT, "passes over the training images"),
        Option("batch_size", COUNT, "images in one step of training"),
        Option("optimizer", TEXT, "optimizer, such as adam or sgd"),
        Option("learning_rate", NUMBER, "step size of the optimizer"),
        Option(
            "learning_rate_schedule",
            names_of("constant", "one_cycle", "cosine"),
            "change of the learning rate from step to step",
        ),
        Option("weight_decay", NUMBER, "fraction by which a step shrinks the weights"),
        Option(
            "early_stopping",
            FLAG,
            "hold out validation images, and stop when their loss no longer falls",
        ),
        Option(
            "validation_fraction",
            FRACTION,
            "fraction of the training images for --early-stopping, which it switches "
            "on",
        ),
        Option(
            "n_iter_no_change",
            COUNT,
            "epochs without progress until --early-stopping, which it switches on",
        ),
        Option(
            "class_weight",
            names_of("balanced", "none"),
            "balanced lets rare classes count as much as frequent ones",
        ),
        Option(
            "fine_tune",
            LAYERS,
            "train a pretrained network too: all of it, or its last layers",
        ),
        Option("fine_tune_epochs", COUNT, "passes of fine tuning"),
        Option("fine_tune_learning_rate", NUMBER, "step size of fine tuning"),
    ),
    *_of_steps(
        ("embed", "classify"),
        Option(
            "weights",
            WEIGHTS,
            "weights of a pretrained network: imagenet, none or a file",
        ),
    ),
]

# What every command that reads images takes. A saved model doesn't keep them.
READING = [
    Option(
        "cache", PATH, "keep decoded images in this folder, for this and later runs"
    ),
    Option("cache_limit", COUNT, "bytes that the cache may take"),
    Option("max_pixels", COUNT, "refuse images with more pixels"),
    Option("n_jobs", JOBS, "images decoded at once (default: all processors)"),
]
TABLE = [
    Option("image_dir", PATH, "folder of the images (default: that of the table)"),
    Option("id_column", TEXT, "column with the file names (default: id)", (), "id"),
    Option("label_column", TEXT, "column with labels (default: label)", (), "label"),
    Option(
        "sep",
        SEPARATOR,
        "character between two fields; tab for a tab (default: a comma)",
        (),
        ",",
    ),
    Option(
        "encoding",
        TEXT,
        "text encoding, such as cp1252 (default: UTF-8)",
        (),
        "utf-8-sig",
    ),
]
FOLDER = [
    Option("follow_links", FLAG, "enter links to folders", (), False),
    Option(
        "allow_outside",
        FLAG,
        "let links and ids lead out of the folder",
        (),
        False,
    ),
    Option("allow_empty", FLAG, "let class folders be empty", (), False),
]
ON_BAD = Option(
    "on_bad",
    names_of("ignore", "raise", "drop"),
    "treatment of unreadable images: raise ends the job before it starts, drop leaves "
    "them out, ignore ends the job when one is reached",
)
RUN = [
    Option(
        "kind",
        names_of("textbook", "digits", "photos", "few_photos"),
        "pipeline for a kind of images: the textbook's small dense network, small gray "
        "images, photos from scratch, or few photos with a pretrained network "
        "(default: textbook)",
        (),
        "textbook",
    ),
    Option(
        "test_size",
        FRACTION,
        "fraction of the images held out for the final score; 0 for none "
        "(default: 0.2)",
        (),
        0.2,
    ),
    Option("seed", SEED, "seed of split and training (default: 0)", (), 0),
]
FIT = [*RUN, *PARAMETERS, *READING, *TABLE, *FOLDER, ON_BAD]
