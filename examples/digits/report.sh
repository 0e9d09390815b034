#!/bin/sh
# Writes what a sweep found as Markdown: all trials by their validation loss, the best of them, and how well its model
# knows each digit.
#
#   report.sh BEST RUNS VALID.csv REPORT.md
#
# BEST and RUNS are JSON, as `needs.train.best` and `needs.train.runs` give them. The model is the first output of the
# best trial, or lies in the folder that this output is.
set -eu
export LC_ALL=C

[ $# -eq 4 ] || { echo "usage: report.sh BEST RUNS VALID.csv REPORT.md" >&2; exit 64; }
best=$1 runs=$2 valid=$3 report=$4
here=$(dirname "$0")
awk=${AWK:-awk}

flat() { printf '%s\n' "$1" | "$awk" -f "$here/json.awk"; }
field() { printf '%s\n' "$flat_best" | "$awk" -F '\t' -v name="$1" '$1 == name { print $2; exit }'; }

flat_best=$(flat "$best")
flat_runs=$(flat "$runs")
address=$(field address)
model=$(field outputs.0)
[ ! -d "$model" ] || model=$model/model.txt
[ -f "$model" ] || { echo "report.sh: the best trial left no model: $model" >&2; exit 1; }

mkdir -p "$(dirname "$report")"
{
    echo "# Digits: what the sweep found"
    echo
    echo "The best trial is \`$address\` with val_loss $(field metrics.val_loss) and val_acc $(field metrics.val_acc)."
    echo
    printf '%s\n' "$flat_runs" | "$awk" -F '\t' -v best="$address" -f "$here/table.awk"
    echo
    echo "## The best model, digit by digit"
    echo
    "$awk" -f "$here/evaluate.awk" "./$model" "./$valid"
} > "$report.part"
mv "$report.part" "$report"

cat "$report"
echo
# The report's own metrics: what came out in the end, where \`oppen status\` shows it.
echo "best_val_loss=$(field metrics.val_loss) best_val_acc=$(field metrics.val_acc)"
