"""Import matplotlib when a display is drawn, make axes, and show displays."""

import io
import shutil

from skimgclf._extras import import_extra


def import_pyplot(caller):
    """Import ``matplotlib.pyplot``, or say how to install it.

    Parameters
    ----------
    caller : str
        The method that draws, for the error.

    Returns
    -------
    pyplot : module
    """
    needed = f"{caller} draws with matplotlib, which isn't installed"
    return import_extra("matplotlib.pyplot", "plot", needed)


def check_latex(caller):
    """Refuse to draw numbers by LaTeX where there is none, before matplotlib fails.

    Parameters
    ----------
    caller : str
        The method that draws, for the error.

    Raises
    ------
    RuntimeError
        As matplotlib raises it when the figure is drawn, but says what to do.
    """
    plt = import_pyplot(caller)
    if plt.rcParams["text.usetex"] and shutil.which("latex") is None:
        raise RuntimeError(
            f"{caller} draws numbers by LaTeX, since "
            "matplotlib.rcParams['text.usetex'] is True, but there is no command "
            "latex: install LaTeX, or set text.usetex to False."
        )


def make_axes(caller, given, figsize, *, margin_above=None):
    """Return the axes that a user gave, or make a new figure with axes.

    Parameters
    ----------
    caller : str
        The method that draws, for the error without matplotlib.
    given : matplotlib Axes or None
        The axes that the user gave.
    figsize : tuple of two float
        Width and height of a new figure, in inches.
    margin_above : float, default=None
        Inches left free above the axes, which fill the rest of a new figure; None
        leaves room for ticks and names on all sides.

    Returns
    -------
    ax : matplotlib Axes
    """
    plt = import_pyplot(caller)
    if given is not None:
        return given
    if margin_above is None:
        return plt.subplots(figsize=figsize, layout="constrained")[1]
    width, height = figsize
    figure = plt.figure(figsize=(width, height + margin_above))
    return figure.add_axes((0, 0, 1, height / (height + margin_above)))


def split_axes(frame, boxes):
    """Put smaller axes inside of other axes, and hide the lines of the outer ones.

    Parameters
    ----------
    frame : matplotlib Axes
    boxes : list of tuple of four float
        Left, bottom, width and height of each part, in fractions of `frame`.

    Returns
    -------
    axes : list of matplotlib Axes
    """
    frame.set_axis_off()
    return [frame.inset_axes(box) for box in boxes]


def measure_axes(frame):
    """Return the width and height of axes, in inches."""
    extent = frame.get_window_extent()
    return extent.width / frame.figure.dpi, extent.height / frame.figure.dpi


class ShownInNotebooks:
    """Show a display where it is the last value of a notebook's cell."""

    def _repr_png_(self):
        plt = import_pyplot(type(self).__name__)
        # Of a subfigure, which isn't saved by itself, the whole figure.
        figure = getattr(getattr(self, "figure_", None), "figure", None)
        if figure is None:
            figure = self.plot().figure_
            plt.close(figure)  # the notebook would show it a second time
        elif getattr(figure, "number", None) in plt.get_fignums():
            return None  # the notebook shows open figures itself
        content = io.BytesIO()
        figure.savefig(content, format="png", bbox_inches="tight")
        return content.getvalue()
