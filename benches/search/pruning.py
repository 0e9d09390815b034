"""ASHA against Optuna's SuccessiveHalvingPruner on the learning curves of LCDB (Mohr et al. 2022): 20 learners on growing samples.

A trial is a learner with one pair of splits; its step is the number of the sample size, its value the validation error. Both rules get
the same trials in the same order, four of them at a time, step by step. What counts: the best last value, and the steps that were run.
"""
import csv
import os
import pickle

import numpy as np
from scipy import stats

from samplers import Ours

ETA, TRIALS, AT_ONCE, DATASETS = 3, 100, 4, 8


def curves(folder):
    """By data set: one curve a trial, those that reach the largest sample size of their data set."""
    kept = os.path.join(folder, "curves.pickle")
    if os.path.exists(kept):
        with open(kept, "rb") as f:
            return pickle.load(f)
    sets = {}
    with open(os.path.join(folder, "lcdb", "database-accuracy.csv"), newline="") as f:
        for row in csv.DictReader(f):
            if row["score_valid"]:
                key = (row["learner"], row["outer_seed"], row["inner_seed"])
                sets.setdefault(row["openmlid"], {}).setdefault(key, {})[int(row["size_train"])] = 1.0 - float(row["score_valid"])
    out = {}
    for name, trials in sorted(sets.items(), key=lambda s: -len(s[1]))[:DATASETS]:
        longest = max(len(t) for t in trials.values())
        out[name] = [[v for _, v in sorted(t.items())] for t in trials.values() if len(t) == longest]
    with open(kept, "wb") as f:
        pickle.dump(out, f)
    return out


def sweep(report, complete, curves):
    """Runs trials four at a time, a step of each in turn. Gives the best last value and the steps run."""
    waiting, live, steps, best = list(enumerate(curves)), [], 0, np.inf
    while waiting or live:
        while waiting and len(live) < AT_ONCE:
            live.append([*waiting.pop(0), 0])
        for trial in list(live):
            index, curve, step = trial
            trial[2] = step + 1
            steps += 1
            if report(index, step + 1, curve[step]):
                live.remove(trial)
            elif step + 1 == len(curve):
                best = min(best, curve[step])
                complete(index, curve[step])
                live.remove(trial)
    return best, steps


def ours(driver, curves):
    spec = {
        "space": {"parameters": [{"name": "i", "dist": {"distribution": "int_uniform", "min": 0, "max": 10**6, "step": 1}}]},
        "method": "random", "seed": 0, "goal": "minimize", "prune": {"method": "asha", "min": 1, "eta": ETA, "max": len(curves[0])},
    }
    driver.request({"open": spec})
    report = lambda trial, step, value: driver.request({"report": {"trial": trial, "step": step, "value": value}})["prune"] is not None
    return sweep(report, lambda trial, _: driver.request({"complete": trial}, False), curves)


def peer(curves):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=ETA)
    study, trials = optuna.create_study(pruner=pruner), {}

    def report(index, step, value):
        trial = trials.setdefault(index, None) or trials.update({index: study.ask()}) or trials[index]
        trial.report(value, step)
        if step < len(curves[index]) and trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return True
        return False

    return sweep(report, lambda index, value: study.tell(trials[index], value), curves)


def table(path, folder, seeds):
    driver = Ours(path, "random", {})
    rows = []
    for name, all_curves in curves(folder).items():
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(all_curves))[:TRIALS]
            chosen = [all_curves[i] for i in order]
            full = sum(map(len, chosen))
            rows.append((*ours(driver, chosen), *peer(chosen), full, min(c[-1] for c in chosen)))
    a = np.array(rows)
    diff_best, diff_steps = a[:, 0] - a[:, 2], a[:, 1] - a[:, 3]
    p = lambda d: 1.0 if not d.any() else stats.wilcoxon(d).pvalue
    return "\n".join([
        f"\n### ASHA on LCDB: {len(rows) // seeds} data sets, {seeds} seeds, {TRIALS} trials, {AT_ONCE} at a time, eta {ETA}\n",
        "| | mean best error | steps, share of all | same as the peer |", "|---|---|---|---|",
        f"| `asha` | {a[:, 0].mean():.5f} | {a[:, 1].sum() / a[:, 4].sum():.4f} | best: {(diff_best == 0).mean():.1%}, p = {p(diff_best):.2g} |",
        f"| Optuna SuccessiveHalving | {a[:, 2].mean():.5f} | {a[:, 3].sum() / a[:, 4].sum():.4f} | steps: {(diff_steps == 0).mean():.1%}, p = {p(diff_steps):.2g} |",
        f"| without pruning | {a[:, 5].mean():.5f} | 1 | |",
    ])
