"""Parse and check the arguments of the command ``skimgclf``."""

import argparse
import contextlib
import itertools
import os
import re

import skimgclf
from skimgclf._nearest import advise_nearest
from skimgclf._shell.forms import COUNT, names_of
from skimgclf._shell.options import (
    FOLDER,
    ON_BAD,
    PARAMETERS,
    READING,
    RUN,
    TABLE,
    Option,
)
from skimgclf._terminal import escape_line
from skimgclf.exceptions import mask_credentials

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
        message = mask_credentials(escape_line(message[:1].upper() + message[1:]))
        self.exit(
            2, f"{self.prog}: {message.rstrip('.')} (try '{self.prog} --help').\n"
        )

    def list_flags(self):
        """Return all options."""
        return set(self._option_string_actions)

    def refuse_unknown(self, arguments):
        """Refuse options that don't exist, and other superfluous arguments."""
        unknown = next((a for a in arguments if re.match("-.", a)), None)
        if unknown is not None:
            name = unknown.split("=")[0]
            self.error(
                f"there is no option {name!r}{advise_nearest(name, self.list_flags())}"
            )
        if arguments:
            self.error(f"there is no use for {arguments[0]!r}")


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
            namespace, unknown = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_mixing = False
        self.refuse_unknown(unknown)
        return namespace, []


def parse_arguments(argv):
    """Parse the arguments, take those of a settings file, and check them together.

    Parameters
    ----------
    argv : list of str
        The arguments after the name of the command.

    Returns
    -------
    options : argparse.Namespace
        `parser` is the parser of the sub-command.

    Raises
    ------
    SystemExit
        With code 2 for wrong usage, 0 after ``--help`` and ``--version``.
    """
    parser = make_parser()
    # Before the rest, so that a misspelt option or command gets the nearest one.
    first = list(itertools.takewhile(lambda part: part.startswith("-"), argv))
    flags = parser.list_flags()
    parser.refuse_unknown([part for part in first if part.split("=")[0] not in flags])
    command = next(iter(argv[len(first) :]), None)
    if command is not None and command not in EXAMPLES:
        parser.error(
            f"there is no command {command!r}{advise_nearest(command, EXAMPLES)}"
        )
    options = _parse(parser, argv)
    if options.command == "fit" and options.config is not None:
        from skimgclf._shell.settings import SettingsError, read_settings

        try:
            settings = read_settings(options.config)
        except SettingsError as error:
            options.parser.error(str(error))
        if getattr(options, "fine_tune", 0) and not settings.get("fine_tune"):
            settings = _turn_into_fine_tuning(settings)
        options.parser.set_defaults(**settings)
        options = _parse(parser, argv)
    check_usage(options)
    return options


def _turn_into_fine_tuning(settings):
    """Change settings of a backbone's features into those of training the backbone."""
    of_features = {each.name for each in PARAMETERS if each.steps == ("embed",)}
    kept = {name: value for name, value in settings.items() if name not in of_features}
    if "backbone" in settings:
        kept["architecture"] = settings["backbone"]  # in place of dense layers
    return kept


def _parse(parser, argv):
    options, unknown = parser.parse_known_args(argv)
    parser.refuse_unknown(unknown)
    return options


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
    with contextlib.suppress(ImportError):  # completion in the shell, where installed
        import argcomplete

        argcomplete.autocomplete(parser)
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
    refuse = options.parser.error
    if options.command == "fit":
        _check_fit(options, refuse)
    for given in (getattr(options, "images", []), getattr(options, "data", [])):
        if isinstance(given, list) and given.count("-") > 1:
            refuse("Standard input (-) can be read once")
    if options.command == "predict":
        if bool(options.images) == bool(options.csv):
            refuse("Give either images or --csv with a table")
        if options.image_dir is not None and not options.csv:
            refuse("--image-dir goes with --csv")


def _check_fit(options, refuse):
    missing = [
        name
        for name, value in {"DATA": options.data, "--output": options.output}.items()
        if value is None
    ]
    if missing:
        refuse(f"{' and '.join(missing)} must be given")
    if options.output == "-":
        refuse("A model can't be written to standard output")
    has_features = options.kind == "few_photos" and not getattr(options, "fine_tune", 0)
    architecture = getattr(options, "architecture", "dense")
    if has_features and architecture.casefold() != "dense":
        refuse(
            "--kind few_photos trains dense layers on the features of a pretrained "
            "network: choose that by --backbone, or train --architecture itself with "
            "--fine-tune"
        )
    for option in PARAMETERS:
        is_given = hasattr(options, option.name)
        if option.steps == ("embed",) and is_given and not has_features:
            refuse(f"{option.flag} goes with --kind few_photos without --fine-tune")


def _add_fit(commands):
    fit = _add_command(commands, "fit", "train a network, score it and save it")
    fit.usage = "skimgclf fit [OPTIONS] DATA --output MODEL"
    # Both may stand in a settings file.
    _add_data(fit, nargs="?")
    _add_output(fit, "MODEL", "file of the model; its settings go to MODEL.toml")
    fit.add_argument(
        "--config",
        type=os.path.expanduser,
        metavar="FILE",
        help="a TOML file of options, such as the MODEL.toml of another run; options "
        "on the command line take precedence",
    )
    _add_all(fit, RUN)
    for title, step in [("images", "load"), ("network and its training", "classify")]:
        group = fit.add_argument_group(f"options of the {title} (default: by --kind)")
        chosen = [each for each in PARAMETERS if step in each.steps]
        if step == "classify":
            chosen += [each for each in PARAMETERS if each.steps == ("embed",)]
        _add_all(group, chosen)
    _add_reading(fit)
    _add_tables_and_folders(fit)
    _add_on_bad(fit, "raise")


def _add_predict(commands):
    predict = _add_command(commands, "predict", "predict images with a saved model")
    _add_model(predict)
    predict.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="an image file; a folder, for all images in it and in folders below; - "
        "for standard input",
    )
    predict.add_argument(
        "--csv",
        metavar="FILE",
        help="a table that names the images, instead of IMAGE; - for standard input",
    )
    Option(
        "top_k",
        COUNT,
        "number of classes to list for each image, one a row, the most probable first "
        "(default: 1)",
        default=1,
    ).add_to(predict)
    Option(
        "on_error",
        names_of("raise", "fill"),
        "whether an unreadable image ends the job, or gets a row with an empty label "
        "and the reason (default: raise)",
        default="raise",
    ).add_to(predict)
    written = "the csv file to write; - for standard output (the default)"
    _add_output(predict, "FILE", written, default="-")
    _add_reading(predict)
    _add_tables_and_folders(predict, label=False)


def _add_evaluate(commands):
    evaluate = _add_command(commands, "evaluate", "score a saved model on other images")
    _add_model(evaluate)
    _add_data(evaluate)
    _add_reading(evaluate)
    _add_tables_and_folders(evaluate)
    _add_on_bad(evaluate, "ignore")


def _add_on_bad(command, default):
    ON_BAD.add_to(command, default=default, help=f"{ON_BAD.help} (default: {default})")


def _add_check(commands):
    check = _add_command(commands, "check", "find the images that can't be read")
    check.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help="a table (.csv), image files, folders, for all images in them and in "
        "folders below, or - for an image on standard input",
    )
    check.add_argument(
        "--strict",
        action="store_true",
        help="report JPEG files with too many or too few data as well",
    )
    _add_all(check, [each for each in READING if not each.name.startswith("cache")])
    _add_tables_and_folders(check, label=False)
    written = "write the whole report as a csv file; - for standard output"
    _add_output(check, "FILE", written)


def _add_info(commands):
    _add_model(_add_command(commands, "info", "describe a saved model"))


def _add_all(parser, options):
    for option in options:
        option.add_to(parser)


def _add_model(command):
    saved = {"metavar": "MODEL", "help": "a model that fit has saved"}
    command.add_argument("model", type=os.path.expanduser, **saved)
    command.add_argument(
        "--trusted",
        action="store_true",
        help="load a network that was built by a .keras file or a function, from "
        "somebody you trust",
    )


def _add_data(command, **settings):
    command.add_argument(
        "data",
        metavar="DATA",
        help="a csv table, a folder of class folders, or - for a table on standard "
        "input",
        **settings,
    )


def _add_output(command, metavar, written, **settings):
    command.add_argument(
        "--output", type=os.path.expanduser, metavar=metavar, help=written, **settings
    )


def _add_reading(command):
    _add_all(command.add_argument_group("options of reading images"), READING)


def _add_tables_and_folders(command, *, label=True):
    table = [each for each in TABLE if label or each.name != "label_column"]
    _add_all(command.add_argument_group("options of a table"), table)
    # Empty class folders matter only where there are classes.
    folder = [each for each in FOLDER if label or each.name != "allow_empty"]
    _add_all(command.add_argument_group("options of a folder"), folder)
