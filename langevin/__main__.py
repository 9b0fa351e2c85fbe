"""`python -m langevin`: the command line of the experiments."""

import signal

from langevin.experiments.studies.commands import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends us politely is as Ctrl-C
    raise SystemExit(main())
