#!/bin/sh
# Splits the digits for cross-validation: row i is held out by fold i modulo the number of folds.
#
#   fold.sh DATA.csv FOLDER FOLD FOLDS
#
# Out: FOLDER/train.csv and FOLDER/valid.csv.
set -eu
export LC_ALL=C

[ $# -eq 4 ] || { echo "usage: fold.sh DATA.csv FOLDER FOLD FOLDS" >&2; exit 64; }
data=$1 folder=$2 fold=$3 folds=$4

# awk takes an operand such as a=b.csv for an assignment.
case $data in /*) ;; *) data=./$data ;; esac

mkdir -p "$folder"
"${AWK:-awk}" -v fold="$fold" -v folds="$folds" -v train="$folder/train.csv" -v valid="$folder/valid.csv" '
    { print > (NR % folds == fold ? valid : train) }' "$data"
