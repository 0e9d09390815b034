#!/usr/bin/env python3
"""Compares our samplers with Optuna's: `benches/search/run` sets up the environment and calls this.

Same problems, seeds and budgets for all. What counts is the best value found. Results are kept in a file by method, problem, seed,
budget and parallelism (ours also by the digest of the driver), so that a run that was cut off goes on and peers are not run again.
"""
import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import warnings

import numpy as np

import report
from problems import SUITES
from samplers import OURS, PEERS, Optuna, Ours


def search(sampler, problem, seed, trials, parallel):
    """One search. Trials last log-normal times, so that they end out of order where several run. Gives best values at half and full budget."""
    rng, noise = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
    sampler.open(problem.space, problem.goal, seed, trials, parallel)
    sign = 1.0 if problem.goal == "minimize" else -1.0
    running, clock, seen, true, halves = [], 0.0, np.inf, np.inf, None
    asked = done = 0
    while done < trials:
        while asked < trials and len(running) < parallel:
            handle, params = sampler.ask(asked)
            running.append((clock + rng.lognormal(0.0, 0.5), asked, handle, params))
            asked += 1
        running.sort(key=lambda r: r[:2])
        clock, index, handle, params = running.pop(0)
        value, counts = problem.evaluate(params, noise)
        sampler.tell(handle if isinstance(sampler, Optuna) else index, params, value)
        if sign * value < seen:
            seen, true = sign * value, sign * counts
        done += 1
        if done == trials // 2:
            halves = true
    return halves, true, sampler.cpu() / trials


def work(task):
    suite, method, seed, trials, parallel, driver, known = task
    warnings.filterwarnings("ignore")
    sampler = Optuna(PEERS[method]) if method in PEERS else Ours(driver, *OURS[method])
    out = []
    for problem in SUITES[suite](seed):
        if problem.name not in known:
            half, best, cpu = search(sampler, problem, seed, trials, parallel)
            out.append({"problem": problem.name, "half": half, "best": best, "cpu": cpu})
    return suite, method, seed, trials, parallel, out


def digest(driver):
    with open(driver, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()[:12]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--driver", required=True)
    parser.add_argument("--cache", default="target/search-bench.jsonl")
    parser.add_argument("--suites", default="bbob,mixint,tables")
    parser.add_argument("--methods", default="tpe,tpe-each,cma-es,gp,auto,optuna-tpe,optuna-tpe-each,optuna-cma-es")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--quiet", action="store_true", help="fill the cache only")
    args = parser.parse_args()
    mine, methods, suites = digest(args.driver), args.methods.split(","), args.suites.split(",")
    tag = lambda method: method if method in PEERS else f"{method}@{mine}"
    cache = {}
    if os.path.exists(args.cache):
        with open(args.cache) as f:
            for line in f:
                r = json.loads(line)
                cache[(r["suite"], r["method"], r["seed"], r["trials"], r["parallel"], r["problem"])] = r
    tasks = []
    for suite in suites:
        for seed in range(args.seeds):
            for method in methods:
                known = {k[5] for k in cache if k[:5] == (suite, tag(method), seed, args.trials, args.parallel)}
                tasks.append((suite, method, seed, args.trials, args.parallel, args.driver, known))
    with multiprocessing.Pool(args.workers) as pool, open(args.cache, "a") as f:
        for n, (suite, method, seed, trials, parallel, out) in enumerate(pool.imap_unordered(work, tasks), 1):
            for r in out:
                r.update(suite=suite, method=tag(method), seed=seed, trials=trials, parallel=parallel)
                cache[(suite, tag(method), seed, trials, parallel, r["problem"])] = r
                f.write(json.dumps(r) + "\n")
            f.flush()
            if out:
                print(f"{n}/{len(tasks)} {suite} {method} seed {seed}", file=sys.stderr)
    if not args.quiet:
        wanted = {tag(m): m for m in methods}
        rows = [dict(r, method=wanted[r["method"]]) for r in cache.values()
                if r["method"] in wanted and r["suite"] in suites and r["seed"] < args.seeds
                and (r["trials"], r["parallel"]) == (args.trials, args.parallel)]
        print(report.tables(rows, methods, suites, args))


if __name__ == "__main__":
    main()
