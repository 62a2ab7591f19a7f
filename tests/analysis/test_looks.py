"""What all figures share: one meaning of dark, an order of colours, text that can be read."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from fake_store import BASE, SHARDS
from made_study import confirm, search, study
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from fl_analysis.plots.accuracy import accuracy_figure
from fl_analysis.plots.curves import bytes_figure, curve_figure
from fl_analysis.plots.lines import level_colours, line_panels
from fl_analysis.plots.panels import arm_text, joined
from fl_analysis.plots.partition import partition_figure
from fl_analysis.plots.study import draw_figures
from fl_analysis.plots.style import COLUMN, PAGE, amounts, colours, pretty
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.curves import Curves, read_curves
from fl_analysis.results.outcome import Outcome, outcomes


def light(colour: str) -> float:
    return float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114)))


def arms(count: int = 15) -> list[Outcome]:
    """Sharding x J, as the default study has them; listed from the most different clients on."""
    found = []
    for place in range(count):
        setting = {**SHARDS[(1, 5, 10, 50, "iid")[place // 3]], "local.steps": 4 * 2 ** (place % 3)}
        rows = pd.DataFrame({"seed": [1, 2], "test_accuracy": [0.5, 0.6 + place / 100]})
        config = {**BASE, **setting}
        found.append(
            Outcome(place, f"a{place}", setting, config, 1, 0.0, None, {}, rows, ())
        )  # fmt: skip
    return found


def test_darker_is_more_in_every_map() -> None:
    found = [light(amounts()(share)) for share in (0.0, 0.3, 0.6, 1.0)]
    assert found == sorted(found, reverse=True)


def test_an_ordered_axis_has_ordered_colours_with_iid_darkest() -> None:
    results = arms()
    paint = level_colours("sharding", ["iid", "N_c=50", "N_c=10", "N_c=5", "N_c=1"], results)
    assert [light(c) for c in paint] == sorted(light(c) for c in paint)
    assert light(paint[-1]) < 0.8  # a thin line on white
    _, panels = line_panels(results)
    by_level = {line.label: line.colour for line in panels[0]}
    assert by_level["iid"] == paint[0]
    assert by_level["$N_c$=1"] == paint[-1]
    names = [{"local.rule": rule} for rule in ("plain", "prox", "dyn")]
    plain = [dataclasses.replace(results[0], config=name) for name in names]
    assert level_colours("local.rule", ["plain", "prox", "dyn"], plain) == colours(3)


def test_what_says_nothing_is_not_drawn(golden: StudyRuns) -> None:
    results = outcomes(golden)
    alone = [dataclasses.replace(o, config={**o.config, "federation.clients": 1}) for o in results]
    assert partition_figure(golden, results) is not None
    assert partition_figure(golden, alone) is None
    data = read_curves(golden)
    last = Curves(data.wide[data.wide["step"] == 400], (), (), data.starts.iloc[:0])
    assert curve_figure(results, data) is not None
    assert curve_figure(results, last) is None  # single points
    everywhere = dataclasses.replace(data, alone=tuple(range(len(results))))
    assert bytes_figure(results, data) is not None
    assert bytes_figure(results, everywhere) is None  # one client sends to nobody


def test_every_panel_has_numbers_of_its_own(golden: StudyRuns) -> None:
    figure = curve_figure(arms(), _curves())
    assert figure is not None
    assert len(figure.axes) == 3
    figure.canvas.draw()
    for ax in figure.axes:
        for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
            assert any(label.get_text() and label.get_visible() for label in labels)


def _curves() -> Curves:
    rows = [
        {"arm": a, "run_id": f"r{a}", "step": step, "val_accuracy": 0.1, "bytes": np.nan}
        for a in range(15)
        for step in (1, 2)
    ]
    wide = pd.DataFrame(rows).assign(round=1.0, train_accuracy=np.nan, virtual_seconds=np.nan)
    return Curves(wide, (), ())


@pytest.mark.parametrize("study", ["golden", pytest.param("rules", marks=pytest.mark.soak)])
def test_text_is_at_least_seven_points_and_inside_the_figure(
    study: str, request: pytest.FixtureRequest
) -> None:
    figures, _ = draw_figures(request.getfixturevalue(study))
    for name, figure in figures.items():
        figure.canvas.draw()
        assert figure.get_figwidth() <= PAGE, name
        ticks = {label for ax in figure.axes for label in _tick_labels(ax)}
        for text in figure.findobj(Text):
            if text.get_text().strip() and text.get_visible():
                assert text.get_fontsize() >= 7, (name, text.get_text())
                if text not in ticks:  # of which there are some beyond the ends of an axis
                    box, room = text.get_window_extent(), figure.bbox
                    low, high = min(box.x0, box.y0), max(box.x1 - room.width, box.y1 - room.height)
                    assert low >= -1, (name, text.get_text())
                    assert high <= 1, (name, text.get_text())


def _tick_labels(ax: Axes) -> list[Text]:
    both = (ax.xaxis, ax.yaxis)
    return [tick for axis in both for tick in axis.get_ticklabels(which="both")]


def test_the_heat_map_has_its_numbers_and_fits_a_page() -> None:
    figure = accuracy_figure(arms())
    assert figure is not None
    assert COLUMN <= figure.get_figwidth() <= PAGE
    assert "55.0 ± 7.1" in [t.get_text() for t in figure.axes[0].texts]


def test_a_long_name_leaves_the_axis_its_room() -> None:
    runs = study([search(0, 0.5), *(confirm(0, seed, 0.5, 0.6) for seed in (1, 2, 3))])
    (short,) = outcomes(runs)
    long = dataclasses.replace(
        short, name="iid, " + "backbone=some_network, backbone.image_size=16" + 20 * "x"
    )
    assert arm_text(short, ["sharding"]) == pretty(short.name)
    assert arm_text(long, ["sharding"]) == joined(["sharding"], long)
    assert len(arm_text(long, ["sharding"])) < 20
