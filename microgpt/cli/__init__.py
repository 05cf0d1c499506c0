"""The command line: `python -m microgpt` trains on the embedded names and prints samples, as the course's script does.

    main.py        which command it is, and what its errors become: one line and an exit status
    parsing.py     how words are read, and what is said of those that cannot be
    options.py     the options of `train`, and the configuration that they and a file make
    ranks.py       what all ranks of `mpiexec -n N python -m microgpt train` do, of which one does what the line says
    documents.py   the documents that the options, or a saved model, name
    train.py       the commands, a file each: their options where they have few, and what they do
    sample.py
    evaluate.py
    report.py
    graph.py

Only these files and terminal.py print.
"""

from .main import main as main
