"""Show whether the hardest rows lose to random ones at a prune rate of 0.9, and whether CCS with a fitted cutoff does.

    CURATE_DATA=... python benchmarks/hardness.py [--only CLINC150 Banking77 GoEmotions] [--workers 2]

The cutoff of CCS is the one of 0, 0.05, 0.1, 0.2, 0.3 and 0.4 with which a logistic regression on the selected rows
predicts held-out rows of the pool best; the test rows of the data set are not used for it. Then a logistic regression
on the rows that each selector keeps is tested on the test rows, with five seeds. Runs are those of
benchmarks/evidence.py. Prints a JSON line for each selector: the accuracy, and its difference to uniform with a 95 %
confidence interval and a p value after Holm's correction.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

import evidence

from curate.config.loader import config_from_dict
from curate.evaluation.compare import compare
from curate.evaluation.comparison_result import Comparison
from curate.pipeline import open_executor

RATE = 0.9
CUTOFFS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)
HARDEST = ("el2n", "forgetting", "cartography", "-pvi", "-training_loss", "-consistency")
METRIC = "logistic_probe_accuracy"


def ccs(cutoff: float) -> dict[str, Any]:
    """Return an entry of CCS by EL2N with a cutoff by AUM."""
    cut = {"cutoff_by": "aum", "cutoff_rate": cutoff} if cutoff else {}
    return {"use": "ccs", "name": f"ccs_cut_{cutoff:g}".replace(".", "_"), "by": "el2n", **cut}


def compared(name: str, test: str | None, train: str, select: list[dict[str, Any]], workers: int) -> Comparison:
    """Compare selectors on the test rows, or on held-out rows of the pool."""
    settings = evidence.settings(name, train, test or "", [{**entry, "prune_rate": RATE} for entry in select])
    settings["metrics"] = [{"use": "logistic_probe"}]
    if test is None:
        settings["evaluate"] = {"seeds": evidence.SEEDS}
    with open_executor("processes", workers) as runner:
        names = [entry["name"] for entry in select]
        return compare(config_from_dict(settings), runner, select=names, prune_rates=(RATE,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["CLINC150", "Banking77", "GoEmotions"], choices=evidence.SETS)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    for name in options.only:
        rows = evidence.SETS[name]()
        train, test = (evidence.written(name, part, one) for part, one in zip(("train", "test"), rows, strict=True))
        chosen = compared(name, None, train, [ccs(cutoff) for cutoff in CUTOFFS], options.workers)
        held_out = {cutoff: chosen.cells[ccs(cutoff)["name"], RATE].values[METRIC].mean for cutoff in CUTOFFS}
        fitted = max(CUTOFFS, key=held_out.__getitem__)
        print(json.dumps({"data": name, "held_out": held_out, "fitted_cutoff": fitted}), flush=True)
        hardest = [{"use": "top_k", "name": f"top_k_{score.strip('-')}", "quality": score} for score in HARDEST]
        result = compared(name, test, train, [ccs(fitted), *hardest], options.workers)
        for selector in (*result.selectors, "uniform"):
            cell = result.cells[selector, RATE]
            line = {"data": name, "selector": selector, "accuracy": round(cell.values[METRIC].mean, 4)}
            if selector != "uniform":
                gap = cell.differences[METRIC]
                line |= {"difference": round(gap.mean, 4), "interval": round(gap.half_width, 4), "p": round(cell.p, 4)}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
