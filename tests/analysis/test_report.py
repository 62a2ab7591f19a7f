"""The report page: what it says of studies made by hand, and how it behaves in a real browser."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_store import Store, Trial, confirm, params

from fl_analysis import report
from fl_analysis.page.encoding import faceted
from fl_analysis.page.facts import cost_block, more_warnings
from fl_analysis.page.parallel import LINES, parallel_plot
from fl_analysis.page.result_plots import DOTS
from fl_analysis.page.section import packed, paragraphs, section
from fl_analysis.page.trials import trials_data
from fl_analysis.reading.store import StudyRuns, read_study
from fl_analysis.results.outcome import outcomes
from fl_analysis.tables.final import final_table

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """What a browser would see: tags, ids, the text outside scripts, and the JSON islands."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.islands: list[Any] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        named = dict(attrs)
        self.ids += [named["id"]] if named.get("id") else []
        self._inside = "json" if named.get("type") == "application/json" else tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "json":
            self.islands.append(json.loads(data))
        elif self._inside not in ("script", "style"):
            self.words += data


@pytest.fixture(scope="module")
def golden_page(golden: StudyRuns) -> Page:
    return Page(report.page([section(golden)]))


@pytest.fixture(scope="module")
def masked_page(rules: StudyRuns, front: StudyRuns) -> Page:
    return Page(report.page([section(rules), section(front)]))


def islands(page: Page, kind: str) -> list[Any]:
    """The plots' specifications, or the tables of trials."""
    return [island for island in page.islands if ("rows" in island) == (kind == "trials")]


def test_a_dense_study_says_everything(golden: StudyRuns, golden_page: Page) -> None:
    words = golden_page.words
    for part in (
        *("70.0 ± 1.0", "58.0 ± —", "42.0 ± 2.8"),  # the final table's own cells
        "1 of 4 search trials diverged",
        "local.lr: chosen at the upper bound of its search range [0.001, 1] in 1 of 4 arms",
        "has not been run",
        "only 1 seed(s) in some arms",
        *("CIFAR-100", "vit_small_patch16_224 (dino)", "64 × 64 pixels", "K = 100, C = 0.1"),
        *("python x", "0123456789abcdef", golden.run_id),
        "Too few search trials to estimate importance",
        "highest validation accuracy among trials that ran to their full budget",
    ):
        assert part in words, part
    assert len(golden_page.ids) == len(set(golden_page.ids))
    for name, value in golden_page.attributes:
        if name == "href" and value and value.startswith("#"):
            assert value[1:] in golden_page.ids
        if name in ("src", "href"):
            assert re.match(r"#|data:", value or ""), value


def test_the_answer_and_its_table_come_first(golden: StudyRuns) -> None:
    text = report.page([section(golden)])
    answer = "iid → N_c=1 costs 27.5 points of test accuracy"
    places = [text.index(part) for part in (answer, 'class="heat"', "Results</h3>", "The search")]
    assert places == sorted(places)
    heat = text[places[1] : places[2]]
    shades = re.findall(r'class="shade" style="background:(#\w+);color:(black|white)">', heat)
    assert len(shades) >= 3  # every arm that was confirmed
    assert text.index("<details") > places[1]  # nothing of the answer is folded
    assert text.count("<details") == text.count("</details>") >= 8


def test_accuracies_are_the_final_tables(golden: StudyRuns, golden_page: Page) -> None:
    drawn = next(p for p in islands(golden_page, "plots") if len(p["panels"][0]["marks"]) == 2)
    means = final_table(golden)["test_accuracy_mean"].dropna()
    assert sorted(drawn["panels"][0]["marks"][0]["x"]) == pytest.approx(sorted(100 * means))


def test_every_plot_is_one_that_the_script_knows(golden_page: Page, masked_page: Page) -> None:
    plots = islands(golden_page, "plots") + islands(masked_page, "plots")
    assert len(plots) >= 8
    for plot in plots:
        assert {"panels", "names", "x", "y", "height"} <= plot.keys()
        for panel in plot["panels"]:
            for mark in panel["marks"]:
                assert mark["kind"] in ("line", "dot", "bar", "band")
                assert mark["name"] < len(plot["names"])
                lengths = {len(mark[k]) for k in ("x", "y", "low", "high", "text") if mark.get(k)}
                assert len(lengths) <= 1
    assert all(re.fullmatch("#[0-9a-f]{6}", n["colour"]) for p in plots for n in p["names"])


def test_masked_and_two_objective_studies(masked_page: Page) -> None:
    for part in (
        *("Mask overlap", "chance given layers", "Where the masks live"),
        *("Pareto front", "bytes up", "69.0 ± 1.0"),
        "scope per_client",
    ):
        assert part in masked_page.words, part
    titles = [island for island in masked_page.ids if island.endswith("-title")]
    assert "study-2-pareto-title" in titles
    assert masked_page.tags.count("img") >= 4
    for tag, value in masked_page.attributes:
        if tag == "alt":
            assert value


def test_figures_of_later_studies_need_no_new_code(
    golden: StudyRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3, 2))
    figure.add_subplot().plot([1, 2])
    drawn = ({"confusion_matrix": figure}, {"confusion_matrix": "Who is taken for <whom>."})
    monkeypatch.setattr("fl_analysis.page.section.draw_figures", lambda runs: drawn)
    page = Page(report.page([section(golden)]))
    assert "Confusion matrix" in page.words
    assert ("alt", "Who is taken for <whom>.") in page.attributes


def hostile(runs: StudyRuns) -> StudyRuns:
    tags = {**runs.tags, "question": f"{EVIL}\n\nwhy  {EVIL}", "command": EVIL, "preset": EVIL}
    tags |= {"git_commit": EVIL, "device": EVIL, "versions": json.dumps({EVIL: EVIL})}
    arms = runs.arms.assign(arm_name=[f"{EVIL} {i}" for i in range(len(runs.arms))])
    trials = runs.trials.assign(status=runs.trials["status"].replace("failed", EVIL))
    return dataclasses.replace(runs, study=EVIL, tags=tags, arms=arms, trials=trials)


def test_text_from_the_store_is_never_markup(golden: StudyRuns, golden_page: Page) -> None:
    text = report.page([section(hostile(golden))])
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    page = Page(text)
    assert page.tags.count("script") == golden_page.tags.count("script")
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert EVIL in page.words
    assert "git checkout" not in page.words  # not a commit: not a command to paste
    assert json.loads(packed({"a": f"{EVIL}\u2028&"})) == {"a": f"{EVIL}\u2028&"}


def test_same_store_same_bytes(uri: str, tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        out = ["--out", str(tmp_path / name)]
        assert report.main(["--tracking-uri", uri, "--study", "golden", "bare", *out]) == 0
    one, two = ((tmp_path / name).read_bytes() for name in ("one.html", "two.html"))
    assert one == two
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.html", "two.html"]
    page = Page(one.decode())
    assert page.ids.count("study-2") == 1  # all in one page
    assert len(one) < 3_000_000
    assert not re.search(rb'(src|href)="?http', one)  # it asks nobody


def test_command_fails_in_one_line(
    uri: str, empty_uri: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "foreign.db"
    foreign.write_bytes(b"not a database, whatever it is called\n" * 100)
    file = tmp_path / "file"
    file.touch()
    for bad in (
        ["--tracking-uri", empty_uri],
        ["--tracking-uri", f"sqlite:///{foreign}"],
        ["--tracking-uri", f"sqlite:///{tmp_path / 'none.db'}"],
        ["--tracking-uri", uri, "--study", "nothing"],
        ["--tracking-uri", uri, "--study", "bare", "--out", str(file / "x.html")],
    ):
        assert report.main([*bad] if "--out" in bad else [*bad, "--out", str(tmp_path / "r")]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        assert captured.out == ""
    assert not (tmp_path / "r").exists()


def test_one_earlier_run(uri: str, old_run: str, tmp_path: Path) -> None:
    out = tmp_path / "sub" / "r.html"
    assert report.main(["--tracking-uri", uri, "--run", old_run, "--out", str(out)]) == 0
    page = Page(out.read_text())
    assert old_run in page.words
    assert islands(page, "trials")[0]["rows"] == 1


def test_a_study_without_runs(uri: str) -> None:
    page = Page(report.page([section(read_study(uri, "bare"))]))
    assert "has not been run" in page.words
    assert "no arm has been confirmed" in page.words
    assert "No arm has been confirmed" in page.words
    assert not re.search(r"\d ± \d", page.words)
    assert islands(page, "plots") == []
    assert islands(page, "trials")[0]["rows"] == 0


def test_data_sets_that_are_mixed_in_an_arm_are_told_and_not_averaged(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / "empty.db", tmp_path / "mlflow.db")
    store = Store(tmp_path)
    study = store.study("mixed", [{"local.steps": 4}], seeds=[0, 1])
    arm = store.arm("mixed", study, {"local.steps": 4})
    best = params(0.1)
    store.trial("mixed", arm, {}, Trial("a", best, curve={400: 0.60}))
    store.trial("mixed", arm, {}, confirm(best, 0, 0.70))
    other = {**best, "data.name": "cifar10"}
    store.trial("mixed", arm, {}, confirm(other, 1, 0.95))
    page = Page(report.page([section(read_study(store.uri, "mixed"))]))
    assert "its runs differ in data.name (cifar10, cifar100)" in page.words
    assert "70.0 ± —" in page.words
    assert "82.5" not in page.words  # the mean of both


def test_cost_sums_what_is_known(golden: StudyRuns) -> None:
    block = cost_block(golden)
    assert [row[0] for row in block.rows] == ["search", "confirm", "total"]
    assert {row[2] for row in block.rows} == {"—"}  # no run logged its seconds
    steps = block.header.index("local steps")
    # confirmations: 3 + 1 + 5 with a curve to 400, whatever J
    assert block.rows[1][steps] == f"{400 * 9:,}"
    count = len(golden.trials)
    timed = golden.trials.assign(seconds_train=[3600.0] + [math.nan] * (count - 1))
    block = cost_block(dataclasses.replace(golden, trials=timed))
    assert block.rows[2][2] == "1 h"
    assert any(note.startswith(f"unknown for {count - 1} of {count} runs") for note in block.notes)


def test_the_winners_curse_is_a_warning(golden: StudyRuns) -> None:
    search = golden.trials["phase"] == "search"
    lucky = golden.trials.assign(
        val_accuracy=golden.trials["val_accuracy"].where(
            ~search, golden.trials["val_accuracy"] + 0.2
        )
    )
    runs = dataclasses.replace(golden, trials=lucky)
    lines = more_warnings(runs, outcomes(runs))
    assert any(line.startswith("search scores lie +") for line in lines)
    assert not any("winner" in line for line in more_warnings(golden, outcomes(golden)))


def test_trials_are_packed_by_column_and_name_their_role(golden: StudyRuns) -> None:
    data = trials_data(golden, outcomes(golden))
    columns = {column["label"]: column for column in data["columns"]}
    assert data["rows"] == len(golden.trials)
    assert all(len(c.get("codes", c.get("values"))) == data["rows"] for c in data["columns"])
    role = columns["role"]
    named = [role["levels"][code] for code in role["codes"]]
    assert named.count("chosen") == 3
    assert named.count("in the mean") == 6
    assert "bytes up" not in columns


def test_thousands_of_trials_stay_light(golden: StudyRuns) -> None:
    search = golden.trials[golden.trials["phase"] == "search"]
    many = pd.concat([search] * 1500, ignore_index=True)
    runs = dataclasses.replace(golden, trials=many)
    assert len(many) >= 10_000
    assert len(packed(trials_data(runs, outcomes(golden)))) < 2_500_000
    plot = parallel_plot(runs)
    assert plot is not None
    assert f"{LINES} of " in plot.caption
    assert len(packed(plot.spec)) < 1_000_000
    assert DOTS < 5000


def test_arms_are_told_apart(golden: StudyRuns, rules: StudyRuns) -> None:
    for runs in (golden, rules):
        results = outcomes(runs)
        panels, legend = faceted(results, {o.arm for o in results})
        looks = {(panel.title, line.label) for panel in panels for line in panel.lines}
        assert len(looks) >= len(results)
        assert len({(str(line.colour), str(line.style)) for line in legend}) == len(legend)


def test_a_question_keeps_its_tables_and_flows_else() -> None:
    found = paragraphs("One\nline.\n\nscientific  lr\nfixed       K\n")
    assert [(p.text, p.kept) for p in found] == [
        ("One line.", False), ("scientific  lr\nfixed       K", True)
    ]  # fmt: skip


# In a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs chromium")
    with sync.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def file(
    golden: StudyRuns, rules: StudyRuns, front: StudyRuns, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A page with a name that is markup, and enough trials for every plot and a second page."""
    search = golden.trials[golden.trials["phase"] == "search"]
    rows = [
        search.assign(run_id=[f"{i}{run}" for run in search["run_id"]], number=i) for i in range(10)
    ]
    many = dataclasses.replace(golden, trials=pd.concat([golden.trials, *rows], ignore_index=True))
    path = tmp_path_factory.mktemp("page") / "report.html"
    sections = [section(runs) for runs in (many, rules, front, hostile(golden))]
    path.write_text(report.page(sections), encoding="utf-8")
    return path


class Visit:
    """A page in the browser, with what went wrong there."""

    def __init__(self, browser: Any, file: Path, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda m: self.wrong.append(f"{m.type}: {m.text}"))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append("dialog"), dialog.dismiss()))
        self.page.on("request", self._request)
        self.page.goto(file.as_uri())
        drawn = (
            "[...document.querySelectorAll('.plot')].filter(d => d.offsetWidth)"
            ".every(d => d.querySelector('svg'))"
        )
        for _ in range(300):  # not wait_for_function: the page's policy forbids its eval
            if self.page.evaluate(drawn):
                break
            self.page.wait_for_timeout(100)
        assert self.page.evaluate(drawn), "a plot was not drawn"

    def unfold(self) -> None:
        """Opens all folds; what is in them is drawn."""
        self.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        for _ in range(100):
            if self.page.evaluate(
                "[...document.querySelectorAll('.plot')].every(d => d.querySelector('svg'))"
            ):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError("a plot was not drawn")

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.wrong.append(f"request: {request.url}")

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_errors_no_network_no_overflow(
    browser: Any, file: Path, width: int, scheme: str
) -> None:
    with Visit(browser, file, width, scheme) as visit:
        visit.unfold()
        inner = visit.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert inner[0] <= inner[1]
        assert visit.page.evaluate("document.querySelectorAll('.plot').length") >= 9
        assert visit.page.evaluate(
            "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
        )
        assert visit.wrong == []


def test_sorting_and_filtering_by_keyboard(browser: Any, file: Path) -> None:
    with Visit(browser, file) as visit:
        visit.unfold()
        page = visit.page
        box = page.locator("#study-1 .trials")
        header = box.locator("th", has_text="lr").first
        assert header.get_attribute("aria-sort") == "none"
        header.locator("button").focus()
        page.keyboard.press("Enter")
        assert header.get_attribute("aria-sort") == "descending"
        place = box.locator("th").evaluate_all(
            "a => a.findIndex(h => h.innerText.startsWith('lr'))"
        )
        cells = f"rows => rows.map(r => Number(r.cells[{place}].innerText))"
        found = box.locator("tbody tr").evaluate_all(cells)
        assert found == sorted(found, reverse=True)
        page.keyboard.press("Space")
        assert header.get_attribute("aria-sort") == "ascending"
        assert header.locator("button").evaluate("b => b === document.activeElement")
        found = box.locator("tbody tr").evaluate_all(cells)
        assert found == sorted(found)

        status = box.get_by_role("status")
        before = status.inner_text()
        box.get_by_role("button", name="Next").press("Enter")
        assert "Rows 26 to" in status.inner_text()
        box.get_by_label("Status").select_option(label="diverged")
        assert box.locator("tbody tr").count() == 12 or "(of" in status.inner_text()
        assert set(box.locator("tbody td", has_text="diverged").all_inner_texts()) == {"diverged"}
        box.get_by_label("Text in any column").fill("no such text")
        assert box.locator("tbody tr").count() == 0
        assert before != status.inner_text()
        assert visit.wrong == []


def test_theme_toggle_recolours_page_and_plots(browser: Any, file: Path) -> None:
    with Visit(browser, file) as visit:
        page = visit.page

        def looks() -> list[str]:
            return page.evaluate(
                "[getComputedStyle(document.body).backgroundColor, getComputedStyle("
                "document.querySelector('#study-1-curves svg')).filter]"
            )

        light = looks()
        assert light[1] == "none"
        page.locator("#theme").focus()
        page.keyboard.press("Enter")  # auto -> light
        assert looks() == light
        page.keyboard.press("Enter")  # -> dark
        dark = looks()
        assert page.locator("#theme").inner_text() == "Theme: dark"
        assert all(one != other for one, other in zip(light, dark, strict=True))
        page.keyboard.press("Enter")
        assert looks() == light
        assert visit.wrong == []


def test_legend_by_keyboard_and_paper(browser: Any, file: Path, tmp_path: Path) -> None:
    with Visit(browser, file) as visit:
        page = visit.page
        figure = page.locator("figure", has=page.locator("#study-1-curves"))
        button = figure.locator(".switches button").first
        paths = "#study-1-curves path"
        before = page.locator(paths).count()
        button.press("Enter")
        assert button.get_attribute("aria-pressed") == "false"
        assert page.locator(paths).count() < before
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        widths = page.evaluate("[...document.querySelectorAll('.plot')].map(d => d.offsetWidth)")
        svgs = page.evaluate("[...document.querySelectorAll('.plot svg')].map(s => s.clientWidth)")
        assert max(svgs) <= 1000  # parallel coordinates keep the width that they need
        assert widths
        assert not page.locator(".bar").is_visible()
        shaded = "getComputedStyle(document.querySelector('.shade')).printColorAdjust"
        assert page.evaluate(shaded) == "exact"  # white numbers need their ground
        assert page.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
        assert (tmp_path / "report.pdf").stat().st_size > 50_000
        assert visit.wrong == []
