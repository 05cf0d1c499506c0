"""A run, or a model, as one page that shows what it learned: curves, samples, attention, next letters, weights.

collect.py     everything that is shown, as data, from a directory or a file
run_log.py     the log's curves and samples
forward.py     what the model computes for a text, read from its own forward
principal.py   the embedding table in two dimensions
speed.py       how fast it trains and samples, here and now
figures.py     the figures, over svg.py
page.py        the page: page.html, page.css and page.js, with the figures and payload.py's numbers in it

report = collect("run", ["maria"])
page(report)        # HTML
figures(report)     # the figures as SVG, by name
report.as_json()    # all numbers
"""

from .collect import Report as Report
from .collect import collect as collect
from .figure_files import figures as figures
from .figure_files import write_figures as write_figures
from .page import page as page
