"""Tables of a comparison: mean ranks, wins, rank tests, CPU."""
import numpy as np
from scipy import stats

PAIRS = [
    ("tpe", "optuna-tpe"), ("tpe-each", "optuna-tpe-each"), ("cma-es", "optuna-cma-es"), ("gp", "optuna-gp"), ("gp", "optuna-tpe"),
    ("tpe", "optuna-tpe-liar"), ("gp", "optuna-tpe-liar"), ("auto", "optuna-tpe-liar"),
    ("auto", "optuna-tpe"), ("auto", "optuna-tpe-each"), ("random", "optuna-random"),
]


def tables(rows, methods, suites, args):
    out = []
    for suite in suites:
        mine = [r for r in rows if r["suite"] == suite]
        out.append(one(suite, mine, methods, args))
    return "\n".join(out)


def one(suite, rows, methods, args):
    value = {(r["problem"], r["seed"], r["method"]): (r["half"], r["best"], r["cpu"]) for r in rows}
    problems = sorted({r["problem"] for r in rows})
    blocks = [(p, s) for p in problems for s in range(args.seeds) if all((p, s, m) in value for m in methods)]
    out = [f"\n### {suite}: {len(problems)} problems, {args.seeds} seeds, {args.trials} trials, {args.parallel} at a time\n"]
    if not blocks:
        return out[0] + "\nno complete block\n"
    grids = [np.array([[value[(*b, m)][at] for m in methods] for b in blocks]) for at in (0, 1)]
    ranks = [stats.rankdata(g, axis=1) for g in grids]
    out += ["| method | mean rank at half | mean rank | CPU a suggestion |", "|---|---|---|---|"]
    for k in np.argsort(ranks[1].mean(axis=0)):
        cpu = np.mean([value[(*b, methods[k])][2] for b in blocks])
        out.append(f"| {methods[k]} | {ranks[0][:, k].mean():.2f} | {ranks[1][:, k].mean():.2f} | {cpu * 1e3:.2f} ms |")
    if len(methods) > 2:
        test = stats.friedmanchisquare(*grids[1].T)
        out.append(f"\nFriedman over {len(blocks)} blocks: chi2 = {test.statistic:.1f}, p = {test.pvalue:.1e}\n")
    out += ["| ours | peer | won | tied | lost | p | at half | problems better/worse |", "|---|---|---|---|---|---|---|---|"]
    for ours, peer in PAIRS:
        if ours in methods and peer in methods:
            out.append(pair(ours, peer, grids, blocks, methods, problems))
    return "\n".join(out) + "\n"


def pair(ours, peer, grids, blocks, methods, problems):
    a, b = methods.index(ours), methods.index(peer)
    texts = []
    for grid in reversed(grids):
        # Values of one problem are put on one scale by their ranks among both methods and all seeds.
        diff = np.zeros(len(blocks))
        for p in problems:
            at = [i for i, block in enumerate(blocks) if block[0] == p]
            pooled = stats.rankdata(np.concatenate([grid[at, a], grid[at, b]]))
            diff[at] = (pooled[: len(at)] - pooled[len(at):]) / max(len(at), 1)
        p = 1.0 if not diff.any() else stats.wilcoxon(diff, zero_method="zsplit").pvalue
        texts.append((diff, f"{'better' if diff.mean() < 0 else 'worse'}, p = {p:.1e}"))
    won, lost = (grids[1][:, a] < grids[1][:, b]).sum(), (grids[1][:, a] > grids[1][:, b]).sum()
    by = [texts[0][0][[i for i, block in enumerate(blocks) if block[0] == p]].mean() for p in problems]
    better, worse = sum(x < 0 for x in by), sum(x > 0 for x in by)
    tied = len(blocks) - won - lost
    return f"| {ours} | {peer} | {won} | {tied} | {lost} | {texts[0][1]} | {texts[1][1]} | {better}/{worse} |"
