#!/bin/sh
# Trains a digit classifier with nothing but sh and awk: a real training that needs no installation.
#
#   train.sh --data FOLDER --out FOLDER [--lr 0.1] [--batch 32] [--epochs 8] [--momentum 0.9] [--l2 0.0001] [--seed 1]
#
# In: FOLDER/train.csv and FOLDER/valid.csv. Out: a line of metrics an epoch, which Oppen reads from standard output,
# and in the out folder model.txt (a line of weights a class) and result.json.
set -eu
export LC_ALL=C

usage() { echo "train.sh: $1" >&2; exit 64; }

data='' out='' lr=0.1 batch=32 epochs=8 momentum=0.9 l2=0.0001 seed=1
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage "$1 needs a value"
    case $1 in
        --data) data=$2 ;;
        --out) out=$2 ;;
        --lr) lr=$2 ;;
        --batch) batch=$2 ;;
        --epochs) epochs=$2 ;;
        --momentum) momentum=$2 ;;
        --l2) l2=$2 ;;
        --seed) seed=$2 ;;
        *) usage "unknown option $1" ;;
    esac
    shift 2
done
[ -n "$data" ] && [ -n "$out" ] || usage "--data and --out must be given"

# awk takes an operand such as a=b/train.csv for an assignment.
case $data in /*) ;; *) data=./$data ;; esac

mkdir -p "$out"
exec "${AWK:-awk}" -f "$(dirname "$0")/train.awk" \
    -v lr="$lr" -v batch="$batch" -v epochs="$epochs" -v momentum="$momentum" -v l2="$l2" -v seed="$seed" \
    -v model="$out/model.txt" -v result="$out/result.json" \
    part=train "$data/train.csv" part=valid "$data/valid.csv"
