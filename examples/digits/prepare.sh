#!/bin/sh
# Splits the digits into a training and a validation set: the same rows for the same seed, on every machine and with
# every awk.
#
#   prepare.sh DATA.csv FOLDER [SEED]
#
# Out: FOLDER/train.csv (80%) and FOLDER/valid.csv (20%).
set -eu
export LC_ALL=C

[ $# -ge 2 ] || { echo "usage: prepare.sh DATA.csv FOLDER [SEED]" >&2; exit 64; }
data=$1 folder=$2 seed=${3:-1}

# awk takes an operand such as a=b.csv for an assignment.
case $data in /*) ;; *) data=./$data ;; esac

mkdir -p "$folder"
"${AWK:-awk}" -v seed="$seed" -v train="$folder/train.csv" -v valid="$folder/valid.csv" '
    # The "minimal standard" generator of Park and Miller (1988). srand() and rand() differ from awk to awk.
    function random() { state = (16807 * state) % 2147483647; return state / 2147483647 }
    BEGIN { FS = ","; state = 1 + seed % 2147483646; for (i = 0; i < 10; i++) random() }
    NF != 65 { printf "%s:%d: %d columns, expected 64 pixels and a label\n", FILENAME, FNR, NF > "/dev/stderr"; bad = 1; exit 1 }
    { row[NR] = $0 }
    END {
        if (bad) exit 1
        if (NR < 10) { print "too few rows" > "/dev/stderr"; exit 1 }
        # Fisher and Yates: every order is equally likely.
        for (i = NR; i > 1; i--) { j = 1 + int(random() * i); swap = row[i]; row[i] = row[j]; row[j] = swap }
        printf "" > train; printf "" > valid
        held = int(NR / 5)
        for (i = 1; i <= NR; i++) print row[i] > (i <= held ? valid : train)
        printf "train_rows=%d valid_rows=%d\n", NR - held, held
    }' "$data"
