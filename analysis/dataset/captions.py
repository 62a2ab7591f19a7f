"""What the figures of the data exploration show, in words."""

from __future__ import annotations

from fl_analysis.dataset.outliers import LEVEL, Outliers
from fl_analysis.dataset.pictures import EACH
from fl_analysis.dataset.summary import EXTREMES, Explored, colour_conditions, conditions
from fl_analysis.plots.class_dots import NAMED


def _of_colours(found: Explored, colours: Outliers) -> dict[str, str]:
    both = float((found.outliers.beyond & colours.beyond).mean())
    text = f"{found.data}: {colour_conditions(colours)} Beyond it lie {colours.share:.1%} of the "
    text += f"training images ({both:.1%} are outliers in the feature space as well); "
    text += f"{1 - LEVEL:.1%} would be expected of normal classes."
    return {"colour_outliers": f"{text} The histogram ends at its 99.5th percentile."}


def captions(found: Explored) -> dict[str, str]:
    """Figure -> caption."""
    beyond, half = found.outliers, EACH // 2
    space = f"feature space of {found.space}"
    farthest = f"The {EXTREMES} training images farthest from their class"
    return {
        "balance": f"{found.data}: images of each class in each part (in brackets: all).",
        "spread": f"Mean distance of a class's training images to their mean, {space}. Rows: "
        "superclasses by their mean (bar); named: the lowest and highest class of each, bold: if "
        f"among the {NAMED} lowest or {NAMED} highest of all.",
        "outliers": f"{found.data}: {conditions(found)} Beyond it lie "
        f"{beyond.share:.1%} of the training images; {1 - LEVEL:.1%} would be expected of normal "
        "classes with known covariances, "
        f"{beyond.reference:.1%} when this procedure is run on normal examples with the estimated "
        "ones. The histogram ends at its 99.5th percentile.",
        "samples": f"{EACH} training images of each class, drawn at random once and for all.",
        "extremes": f"Of each class the {half} training images nearest to its mean (left) and the "
        f"{half} farthest from it (right), the extreme one first; {space}.",
        "nearest_pairs": f"Nearest pairs of images and their distance, {space}; each image in one "
        "pair. Of one class and of two within the training set; and of a test and a training "
        "image, whatever their classes. 0: equal images, up to the features' rounding.",
        "outlier_images": f"{farthest}, with the squared Mahalanobis distance (see outliers).",
        **({} if found.colours is None else _of_colours(found, found.colours)),
        "colour_outlier_images": f"{farthest} by mean colour, with the squared Mahalanobis "
        "distance (see colour_outliers).",
        "partition": "Realised partition: training images of each class on each client "
        "(logarithmic colours, white: none).",
    }
