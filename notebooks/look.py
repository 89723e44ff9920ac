"""How do the pictures of all notebooks look? Their colours are those of Untangle's reports."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

INK, SOFT, LINE = "#1b1f24", "#5b6570", "#d9dde3"
BLUE, ORANGE, GREEN, PINK, VIOLET, OCHRE, TEAL, RED = (
    "#2563a8", "#c2571a", "#2b8a4e", "#a63a7a", "#6a51c9", "#8a6d00", "#0e8b93", "#b3322f",
)  # fmt: skip
CYCLE = [BLUE, ORANGE, GREEN, PINK, VIOLET, OCHRE, TEAL, RED]


def use():
    """Sets the style once, at the head of a notebook."""
    mpl.rcParams.update({
        "figure.dpi": 90, "savefig.dpi": 90, "figure.constrained_layout.use": True, "figure.facecolor": "white",
        "font.size": 9.5, "axes.titlesize": 10.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
        "axes.titlepad": 9, "axes.labelcolor": INK, "axes.edgecolor": SOFT, "axes.linewidth": 0.8, "text.color": INK,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": LINE, "grid.linewidth": 0.6,
        "axes.axisbelow": True, "xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
        "xtick.major.size": 3, "ytick.major.size": 3, "lines.linewidth": 1.8, "lines.markersize": 5.5,
        "legend.frameon": False, "legend.fontsize": 9, "axes.prop_cycle": mpl.cycler(color=CYCLE),
    })  # fmt: skip


def finding(figure, text):
    """Puts what a picture shows above it, in words."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=11.5, fontweight="bold")


def band(axes, x, y, low, high, **style):
    """A line with its 95 % intervals."""
    (line,) = axes.plot(x, y, marker="o", **style)
    axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    return line


def wilson(hits, trials, z=1.96):
    """The 95 % interval of a share: Wilson's, which stays between 0 and 1."""
    share, spread = hits / trials, z / trials * np.sqrt(hits * (trials - hits) / trials + z * z / 4)
    middle, shrink = share + z * z / (2 * trials), 1 + z * z / trials
    return (middle - spread) / shrink, (middle + spread) / shrink


def show(figure):
    """Shows a figure and lets go of it."""
    plt.show()
    plt.close(figure)


def passages(axes, lines, top, shade=BLUE, columns=88):
    """Writes passages token by token, each on a ground as dark as its activation: `lines` holds (tokens, activations)."""
    tint = mpl.colors.LinearSegmentedColormap.from_list("tint", ["white", shade])
    for row, (tokens, activations) in enumerate(lines):
        at = 0
        for token, activation in zip(tokens, activations):
            text = token.replace("\n", "⏎")
            if at + len(text) > columns:
                break
            part = 0.75 * min(activation / top, 1)
            if part > 0:
                axes.add_patch(plt.Rectangle((at, row - 0.42), len(text), 0.84, color=tint(part), linewidth=0))
            # Drawn letter by letter, so that every font of equal widths fills its cells.
            for column, letter in enumerate(text):
                ink = "white" if part > 0.45 else INK
                axes.text(at + column + 0.5, row, letter, family="monospace", fontsize=9.2, ha="center", va="center", color=ink)
            at += len(text)
    axes.set(xlim=(0, columns), ylim=(len(lines) - 0.4, -0.6))
    axes.axis("off")
