"""What a study found, as its part of the report: one HTML page that needs no network.

`section.section` gathers a study: the tables and figures of the other rooms, interactive plots
(`result_plots`, `search_plots`), facts about protocol and cost, and every trial. The templates
beside it only lay out; `analysis/report.py` makes the page.
"""
