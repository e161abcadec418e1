"""Parse and check the arguments of the command ``skimgclf``."""

import argparse
import os
import re

import skimgclf
from skimgclf._terminal import escape_line

_EXIT_CODES = """exit codes:
  0 success, 1 the job failed (bad data, images or model), 2 wrong usage,
  130 interrupted (Ctrl-C)"""

# Examples for the --help of each command; the tests parse them.
EXAMPLES = {
    "fit": "skimgclf fit train.csv --image-dir train --kind digits "
    "--output digits.model",
    "predict": "skimgclf predict digits.model --csv test.csv --image-dir test "
    "--output predictions.csv",
    "evaluate": "skimgclf evaluate digits.model new.csv --image-dir new",
    "check": "skimgclf check train.csv --image-dir train --output report.csv",
    "info": "skimgclf info digits.model",
}


class _Parser(argparse.ArgumentParser):
    """Parse arguments, and report wrong usage in one sentence."""

    def __init__(self, **arguments):
        arguments.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        # An abbreviation becomes ambiguous when an option of a similar name is added.
        super().__init__(allow_abbrev=False, **arguments)

    def error(self, message):
        message = escape_line(message[:1].upper() + message[1:])
        self.exit(
            2, f"{self.prog}: {message.rstrip('.')} (try '{self.prog} --help').\n"
        )


class _CommandParser(_Parser):
    """Parse options before, between and after the images.

    `parse_args` of argparse refuses ``a.png --top-k 3 b.png`` and ``MODEL --top-k 3
    a.png``. `parse_known_intermixed_args` accepts both, but argparse calls the parser
    of a sub-command by `parse_known_args`, which is redirected here.
    """

    _is_mixing = False

    def parse_known_args(self, args=None, namespace=None):
        if self._is_mixing:
            return super().parse_known_args(args, namespace)
        self._is_mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_mixing = False


def make_parser():
    """Make the parser of the command and its sub-commands."""
    parser = _Parser(
        prog="skimgclf",
        description="Image classification from the shell: train a network on images, "
        "predict others.",
        epilog=f"example:\n  {EXAMPLES['fit']}\n\n{_EXIT_CODES}",
    )
    parser.add_argument(
        "--version", action="version", version=f"skimgclf {skimgclf.__version__}"
    )
    parser.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )
    commands = parser.add_subparsers(
        dest="command",
        metavar="COMMAND",
        required=True,
        parser_class=_CommandParser,
    )
    _add_fit(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    _add_check(commands)
    _add_info(commands)
    return parser


def _add_command(commands, name, description):
    command = commands.add_parser(
        name,
        help=description,
        description=f"{description[0].upper()}{description[1:]}.",
        epilog=f"example:\n  {EXAMPLES[name]}\n\n{_EXIT_CODES}",
    )
    command.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,  # so that `skimgclf --debug fit` counts as well
        help="show the traceback of an error",
    )
    command.set_defaults(parser=command)
    return command


def check_usage(options):
    """Refuse options that don't go together."""
    if options.command == "fit" and options.output == "-":
        options.parser.error("A model can't be written to standard output")
    if options.command == "fit" and options.fine_tune and options.kind != "few_photos":
        options.parser.error("--fine-tune goes with --kind few_photos")
    if options.command == "predict":
        if bool(options.images) == bool(options.csv):
            options.parser.error("Give either images or --csv with a table")
        if options.image_dir is not None and not options.csv:
            options.parser.error("--image-dir goes with --csv")


def _add_fit(commands):
    fit = _add_command(commands, "fit", "train a network, score it and save it")
    _add_data(fit)
    _add_table_options(fit, label=True)
    _add_output(fit, "MODEL", "the file to save the model in", required=True)
    fit.add_argument(
        "--test-size",
        type=_fraction,
        default=0.2,
        metavar="FRACTION",
        help="fraction of the images held out for the final score; 0 for none "
        "(default: 0.2)",
    )
    fit.add_argument(
        "--validation-fraction",
        type=_fraction,
        default=0.0,
        metavar="FRACTION",
        help="fraction of the training images held out for validation after each "
        "epoch, to stop early (default: 0, train for all epochs)",
    )
    fit.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="INT",
        help="seed of the split and of the training (default: 0)",
    )
    _add_cache(fit)
    _add_network_options(fit)


def _add_network_options(fit):
    fit.add_argument(
        "--kind",
        choices=["textbook", "digits", "photos", "few_photos"],
        default="textbook",
        help="the pipeline for a kind of images: the textbook's small dense network, "
        "small gray images, photos from scratch, or few photos with a pretrained "
        "network (default: textbook)",
    )
    fit.add_argument(
        "--image-size",
        type=_image_size,
        metavar="HEIGHTxWIDTH",
        help="the size that images are resized to, such as 28x28 (default: that of "
        "--kind)",
    )
    fit.add_argument(
        "--color-mode",
        choices=["grayscale", "rgb", "rgba"],
        help="the channels that images are read with (default: those of --kind)",
    )
    fit.add_argument(
        "--architecture",
        choices=["dense", "cnn", "resnet"],
        help="dense layers alone or after convolutions, or a residual network "
        "(default: that of --kind)",
    )
    fit.add_argument(
        "--hidden-layer-sizes",
        type=_sizes,
        metavar="SIZES",
        help="units of the dense layers, such as 128,64 (default: those of the "
        "architecture)",
    )
    fit.add_argument(
        "--epochs",
        type=_count,
        metavar="N",
        help="passes over the training images (default: those of --kind)",
    )
    fit.add_argument(
        "--fine-tune",
        type=_layers,
        metavar="LAYERS",
        help="with --kind few_photos, train the pretrained network too: all of it, or "
        "this many of its last layers (default: none, on its features alone)",
    )
    fit.add_argument(
        "--class-weight",
        choices=["balanced"],
        help="let rare classes count as much as frequent ones",
    )


def _add_predict(commands):
    predict = _add_command(commands, "predict", "predict images with a saved model")
    _add_model(predict)
    predict.add_argument("images", nargs="*", metavar="IMAGE", help="an image file")
    predict.add_argument(
        "--csv", metavar="FILE", help="a table that names the images, instead of IMAGE"
    )
    _add_table_options(predict, label=False)
    predict.add_argument(
        "--top-k",
        type=_count,
        default=1,
        metavar="K",
        help="number of classes to list for each image, one a row, the most probable "
        "first (default: 1)",
    )
    predict.add_argument(
        "--on-error",
        choices=["raise", "fill"],
        default="raise",
        help="whether an unreadable image ends the job, or gets a row with an empty "
        "label and the reason (default: raise)",
    )
    written = "the csv file to write; - for standard output (the default)"
    _add_output(predict, "FILE", written, default="-")
    _add_cache(predict)


def _add_evaluate(commands):
    evaluate = _add_command(commands, "evaluate", "score a saved model on other images")
    _add_model(evaluate)
    _add_data(evaluate)
    _add_table_options(evaluate, label=True)
    _add_cache(evaluate)


def _add_check(commands):
    check = _add_command(commands, "check", "find the images that can't be read")
    check.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help="a table (.csv), a folder of class folders, or image files",
    )
    _add_table_options(check, label=False)
    written = "write the whole report as a csv file; - for standard output"
    _add_output(check, "FILE", written)


def _add_info(commands):
    _add_model(_add_command(commands, "info", "describe a saved model"))


def _add_model(command):
    saved = {"metavar": "MODEL", "help": "a model that fit has saved"}
    command.add_argument("model", type=os.path.expanduser, **saved)


def _add_data(command):
    command.add_argument(
        "data", metavar="DATA", help="a csv table, or a folder of class folders"
    )


def _add_output(command, metavar, written, **settings):
    command.add_argument(
        "--output", type=os.path.expanduser, metavar=metavar, help=written, **settings
    )


def _add_cache(command):
    command.add_argument(
        "--cache",
        metavar="DIR",
        help="keep decoded images in this folder, for this and later runs",
    )


def _add_table_options(command, *, label):
    table = command.add_argument_group("options for a table")
    table.add_argument(
        "--image-dir",
        metavar="DIR",
        help="the folder of the images in a table (default: the folder of the table)",
    )
    table.add_argument(
        "--id-column",
        default="id",
        metavar="NAME",
        help="the column with the file names (default: id)",
    )
    if label:
        table.add_argument(
            "--label-column",
            default="label",
            metavar="NAME",
            help="the column with the labels (default: label)",
        )
    table.add_argument(
        "--sep",
        type=_separator,
        default=",",
        metavar="CHARACTER",
        help="the character between two fields; 'tab' for a tab (default: a comma)",
    )
    table.add_argument(
        "--encoding",
        default="utf-8-sig",
        metavar="NAME",
        help="the text encoding of the table, such as cp1252 (default: UTF-8)",
    )


def _count(text):
    return _match(text, r"0*[1-9][0-9]*", int, "a number of at least 1")


def _layers(text):
    def convert(text):
        return text if text == "all" else int(text)

    expected = "'all' or a number of at least 1"
    return _match(text, r"all|0*[1-9][0-9]*", convert, expected)


def _seed(text):
    value = _match(text, r"[0-9]+", int, "a number of at least 0")
    if value >= 2**32:  # the limit of scikit-learn and NumPy
        raise argparse.ArgumentTypeError(f"{text!r} is not below {2**32}")
    return value


def _fraction(text):
    expected = "a fraction from 0 to 1, such as 0.2"
    return _match(text, r"0|0?\.[0-9]+|0\.", float, expected)


def _sizes(text):
    def convert(text):
        return tuple(int(size) for size in text.split(","))

    return _match(
        text, r"0*[1-9][0-9]*(,0*[1-9][0-9]*)*", convert, "sizes such as 128,64"
    )


def _image_size(text):
    def convert(text):
        return tuple(int(side) for side in text.split("x"))

    expected = "a height and a width such as 28x28"
    return _match(text, r"0*[1-9][0-9]*x0*[1-9][0-9]*", convert, expected)


def _separator(text):
    text = "\t" if text in ("tab", r"\t") else text
    return _match(text, r"[^\"\r\n\0]", str, "one character, or 'tab'")


def _match(text, pattern, convert, expected):
    """Convert a value of the right form, and refuse others in one sentence."""
    if not re.fullmatch(pattern, text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return convert(text)
