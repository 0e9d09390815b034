"""What is compared: our samplers through the driver, Optuna's through ask and tell. Each is `open(space, goal, seed, ...)`, `ask`, `tell`."""
import json
import subprocess
import time


class Ours:
    """A sampler of the library, in a process of its own."""

    def __init__(self, driver, method, options):
        self.method, self.options = method, options
        self.process = subprocess.Popen([driver], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1 << 16)

    def open(self, space, goal, seed, trials, parallel):
        spec = {
            "space": {"parameters": [{"name": name, "dist": dist(*rest)} for name, *rest in space]},
            "method": self.method, "options": self.options, "seed": seed, "goal": goal, "trials": trials, "parallel": parallel,
        }
        return self.request({"open": spec})["describe"]

    def request(self, body, answer=True):
        self.process.stdin.write(json.dumps(body) + "\n")
        if answer:
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())

    def ask(self, index):
        params = self.request({"ask": index})["params"]
        self.request({"tell": {"index": index, "params": params, "state": "running"}}, False)
        return params, params

    def tell(self, index, params, value):
        self.request({"tell": {"index": index, "params": params, "value": value}}, False)

    def cpu(self):
        return self.request({"cpu": None})["cpu"]


def dist(kind, *rest):
    if kind == "float":
        low, high, log = rest
        return {"distribution": "log_uniform" if log else "uniform", "min": low, "max": high}
    if kind == "int":
        return {"distribution": "int_uniform", "min": rest[0], "max": rest[1], "step": 1}
    return {"distribution": "values", "values": rest[0], "ordered": kind == "ordered"}


class Optuna:
    """A sampler of Optuna, with its in-memory storage."""

    def __init__(self, make):
        self.make = make

    def open(self, space, goal, seed, trials, parallel):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = space
        d = optuna.distributions
        self.dists = {
            name: d.FloatDistribution(rest[0], rest[1], log=rest[2]) if kind == "float"
            else d.IntDistribution(*rest) if kind == "int"
            else d.IntDistribution(0, len(rest[0]) - 1) if kind == "ordered"
            else d.CategoricalDistribution(rest[0])
            for name, kind, *rest in space
        }
        self.study = optuna.create_study(direction=goal, sampler=self.make(optuna.samplers, seed))
        self.seconds = 0.0

    def ask(self, index):
        before = time.process_time()
        trial = self.study.ask(self.dists)
        self.seconds += time.process_time() - before
        params = {name: rest[0][trial.params[name]] if kind == "ordered" else trial.params[name] for name, kind, *rest in self.space}
        return trial, params

    def tell(self, trial, params, value):
        before = time.process_time()
        self.study.tell(trial, value)
        self.seconds += time.process_time() - before

    def cpu(self):
        return self.seconds


OURS = {
    "tpe": ("tpe", {}),
    "tpe-each": ("tpe", {"multivariate": False}),
    "tpe-group": ("tpe", {"group": True}),
    "cma-es": ("cma-es", {}),
    "cma-es-ipop": ("cma-es", {"restarts": "ipop"}),
    "cma-es-bipop": ("cma-es", {"restarts": "bipop"}),
    "gp": ("gp", {}),
    "random": ("random", {}),
    "sobol": ("sobol", {}),
    "auto": ("auto", {}),
}
PEERS = {
    "optuna-tpe": lambda s, seed: s.TPESampler(seed=seed),
    "optuna-tpe-liar": lambda s, seed: s.TPESampler(seed=seed, constant_liar=True),
    "optuna-tpe-each": lambda s, seed: s.TPESampler(seed=seed, multivariate=False),
    "optuna-cma-es": lambda s, seed: s.CmaEsSampler(seed=seed),
    "optuna-gp": lambda s, seed: s.GPSampler(seed=seed),
    "optuna-random": lambda s, seed: s.RandomSampler(seed=seed),
}
