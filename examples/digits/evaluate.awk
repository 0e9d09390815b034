# Reads a model that train.awk left and a set of digits. Out: a Markdown table of how well it knows each digit.

BEGIN { pixels = 64; bias = 65; classes = 0 }
FNR == 1 { file++ }
file == 1 { for (j = 1; j <= bias; j++) weight[classes, j] = $j; classes++; next }
{
    split($0, x, ",")
    best = ""
    for (c = 0; c < classes; c++) {
        z = weight[c, bias]
        for (j = 1; j <= pixels; j++) if (x[j] != 0) z += weight[c, j] * x[j] / 16
        if (best == "" || z > top) { top = z; best = c }
    }
    truth = x[bias] + 0
    seen[truth]++; all++
    if (best == truth) { right[truth]++; hits++ }
    else if (++taken[truth, best] > worst[truth]) { worst[truth] = taken[truth, best]; other[truth] = best }
}
END {
    if (classes != 10 || !all) { print "evaluate: no model of 10 digits, or no rows" > "/dev/stderr"; exit 1 }
    print "| digit | right | of | most often taken for |"
    print "|---|---|---|---|"
    for (c = 0; c < classes; c++) printf "| %d | %d | %d | %s |\n", c, right[c], seen[c], (c in other) ? other[c] : ""
    printf "\n%d of %d right (%.1f%%).\n", hits, all, 100 * hits / all
}
