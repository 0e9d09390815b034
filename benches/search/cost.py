"""CPU that one suggestion takes with a long history: TPE with 10 parameters, ours and Optuna's in the same run."""
import time

import numpy as np

from samplers import Ours


def value(params):
    return sum((x - 0.1 * i) ** 2 for i, x in enumerate(params.values()))


def ours(driver, known, asked):
    sampler = Ours(driver, "tpe", {})
    space = [(f"x{i}", "float", 0.0, 1.0, False) for i in range(10)]
    sampler.open(space, "minimize", 1, known + asked, 1)
    rng = np.random.default_rng(1)
    for index in range(known):
        params = {f"x{i}": rng.random() for i in range(10)}
        sampler.tell(index, params, value(params))
    before = sampler.cpu()
    for index in range(known, known + asked):
        _, params = sampler.ask(index)
        sampler.tell(index, params, value(params))
    return (sampler.cpu() - before) / asked


def optuna_(known, asked):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    dists = {f"x{i}": optuna.distributions.FloatDistribution(0.0, 1.0) for i in range(10)}
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
    rng = np.random.default_rng(1)
    for _ in range(known):
        params = {f"x{i}": rng.random() for i in range(10)}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=dists, value=value(params)))
    before = time.process_time()
    for _ in range(asked):
        trial = study.ask(dists)
        study.tell(trial, value(trial.params))
    return (time.process_time() - before) / asked


def table(driver):
    out = ["\n### CPU a suggestion, TPE with 10 parameters\n", "| trials known | ours | Optuna | ratio |", "|---|---|---|---|"]
    for known in (100, 1000, 5000, 20000):
        mine = ours(driver, known, 50)
        peer = optuna_(known, 10) if known <= 5000 else None
        text = "| | |" if peer is None else f"| {peer * 1e3:.1f} ms | {peer / mine:.0f} |"
        out.append(f"| {known} | {mine * 1e3:.3f} ms {text}")
    return "\n".join(out)
