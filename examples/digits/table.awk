# Lines of json.awk over the runs of a job to a Markdown table: params and metrics, the least val_loss first.

{
    split($1, part, ".")
    n = part[1] + 0
    if (n >= runs) runs = n + 1
    if (part[2] == "address" || part[2] == "key") cell[n, part[2]] = $2
    if ((part[2] == "params" || part[2] == "metrics") && $2 != "null") {
        name = substr($1, length(part[1] "." part[2]) + 2)
        cell[n, part[2], name] = $2
        if (part[2] == "params" && !(name in known)) { known[name]; column[++columns] = name }
    }
}
function shown(n, name) { return (n, "metrics", name) in cell ? cell[n, "metrics", name] : "-" }
# Trials without a loss come last.
function loss(n) { return (n, "metrics", "val_loss") in cell ? cell[n, "metrics", "val_loss"] + 0 : 1e300 }
END {
    printf "| trial |"; for (i = 1; i <= columns; i++) printf " %s |", column[i]; print " val_loss | val_acc |"
    printf "|---|"; for (i = 1; i <= columns; i++) printf "---|"; print "---|---|"
    for (i = 0; i < runs; i++) {
        for (j = i; j > 0 && loss(rank[j - 1]) > loss(i); j--) rank[j] = rank[j - 1]
        rank[j] = i
    }
    for (i = 0; i < runs; i++) {
        n = rank[i]; mark = cell[n, "address"] == best ? "**" : ""
        printf "| %s%s%s |", mark, cell[n, "key"], mark
        for (j = 1; j <= columns; j++) printf " %s |", cell[n, "params", column[j]]
        printf " %s | %s |\n", shown(n, "val_loss"), shown(n, "val_acc")
    }
}
