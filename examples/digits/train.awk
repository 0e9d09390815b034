# Multinomial logistic regression (softmax), trained by stochastic gradient descent with momentum on small batches.
#
# In: rows of 64 pixels from 0 to 16 and a label; `part` says which set they belong to. Out: metrics, a model, a result.
# Runs alike on mawk, gawk and busybox awk: its own random numbers, no extension of any of them.

function fail(words) { print "train: " words > "/dev/stderr"; failed = 1; exit 1 }

# True for a number above `low` and below `high`.
function within(text, low, high) { return text ~ /^[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?$/ && text + 0 > low && text + 0 < high }

# Park and Miller (1988); srand() and rand() differ from awk to awk.
function random() { state = (16807 * state) % 2147483647; return state / 2147483647 }

BEGIN {
    FS = ","; pixels = 64; classes = 10; bias = pixels + 1
    if (!within(lr, 0, 1e6)) fail("--lr must be a number above 0")
    if (!within(batch, 0, 1e9) || batch != int(batch)) fail("--batch must be a whole number above 0")
    if (!within(epochs, 0, 1e6) || epochs != int(epochs)) fail("--epochs must be a whole number above 0")
    if (!within(momentum, -1, 1)) fail("--momentum must be from 0 to below 1")
    if (!within(l2, -1, 1e6)) fail("--l2 must be a number from 0 up")
    if (!within(seed, -1, 1e15)) fail("--seed must be a whole number")
    ln2 = 0.69314718055994531; half[0] = 1
    for (i = 1; i <= 1024; i++) half[i] = half[i - 1] / 2
    state = 1 + seed % 2147483646
    for (i = 0; i < 10; i++) random()
}

NF != pixels + 1 { fail(FILENAME ":" FNR ": " NF " columns, expected " pixels + 1) }

# Half of all pixels are 0 and add nothing: only the others are kept, one after another in `place` and `ink`.
{
    rows++
    first[rows] = filled + 1
    for (j = 1; j <= pixels; j++) if ($j != 0) { filled++; place[filled] = j; ink[filled] = $j / 16 }
    filled++; place[filled] = bias; ink[filled] = 1
    last[rows] = filled
    label[rows] = $NF + 0
    if (part == "train") order[++trained] = rows
    else held[++validated] = rows
}

# e^x for x up to 0: halved into reach of the Taylor series. Not every awk is built with exp and log, and two mathematics
# libraries may differ in the last digit.
function power_of_e(x,    halvings, sum, n) {
    if (x < -700) return 0
    halvings = int(-x / ln2); x += halvings * ln2; sum = 1
    for (n = 16; n >= 1; n--) sum = 1 + sum * x / n
    return sum * half[halvings]
}

# ln x for x from 1 up: 2 artanh((x - 1) / (x + 1)) of what is left below 2.
function natural_log(x,    doublings, y, sum, n) {
    while (x >= 2) { x /= 2; doublings++ }
    y = (x - 1) / (x + 1)
    for (n = 35; n >= 1; n -= 2) sum = sum * y * y + 1 / n
    return 2 * y * sum + doublings * ln2
}

# Fills `prob` for a row; returns its loss, the negative log-likelihood of the label.
function forward(row,    c, k, z, top, sum, start, end, offset) {
    start = first[row]; end = last[row]; top = -1e300
    for (c = 0; c < classes; c++) {
        z = 0; offset = c * bias
        for (k = start; k <= end; k++) z += weight[offset + place[k]] * ink[k]
        prob[c] = z
        if (z > top) { top = z; guess = c }
    }
    z = prob[label[row]]
    for (c = 0; c < classes; c++) sum += prob[c] = power_of_e(prob[c] - top)
    for (c = 0; c < classes; c++) prob[c] /= sum
    return natural_log(sum) + top - z
}

# Adds the row's gradient: (probability - 1 for the label) x input.
function backward(row,    c, k, slope, start, end, offset) {
    start = first[row]; end = last[row]
    for (c = 0; c < classes; c++) {
        slope = prob[c] - (c == label[row])
        # A class that is surely out adds next to nothing.
        if (slope < 1e-6 && slope > -1e-6) continue
        offset = c * bias
        for (k = start; k <= end; k++) gradient[offset + place[k]] += slope * ink[k]
    }
}

# One step of momentum; the bias does not decay.
function update(size,    i) {
    for (i = 1; i <= classes * bias; i++) {
        velocity[i] = momentum * velocity[i] - lr * (gradient[i] / size + (i % bias ? l2 * weight[i] : 0))
        weight[i] += velocity[i]
        gradient[i] = 0
    }
}

function shuffle(    i, j, swap) {
    for (i = trained; i > 1; i--) { j = 1 + int(random() * i); swap = order[i]; order[i] = order[j]; order[j] = swap }
}

function validate(    i, right, loss) {
    for (i = 1; i <= validated; i++) { loss += forward(held[i]); right += guess == label[held[i]] }
    val_loss = loss / validated; val_acc = right / validated
}

END {
    if (failed) exit 1
    if (!trained || !validated) fail("no rows to train on or to validate with")
    for (i = 1; i <= classes * bias; i++) weight[i] = (random() - 0.5) / 100
    for (epoch = 1; epoch <= epochs; epoch++) {
        shuffle()
        loss = size = 0
        for (n = 1; n <= trained; n++) {
            loss += forward(order[n])
            backward(order[n])
            if (++size == batch || n == trained) { update(size); size = 0 }
        }
        validate()
        if ((loss "" val_loss) ~ /[nN][aA][nN]|[iI][nN][fF]/) fail("the loss is no number any more in epoch " epoch ": lower --lr")
        printf "epoch=%d train_loss=%.6f val_loss=%.6f val_acc=%.6f\n", epoch, loss / trained, val_loss, val_acc
        fflush()
    }
    for (c = 0; c < classes; c++) {
        for (j = 1; j <= bias; j++) printf "%.9g%s", weight[c * bias + j], (j < bias ? " " : "\n") > model
    }
    printf "{\"lr\": %s, \"batch\": %d, \"epochs\": %d, \"momentum\": %s, \"l2\": %s, \"seed\": %d, ", lr + 0, batch, epochs, momentum + 0, l2 + 0, seed > result
    printf "\"val_loss\": %.6f, \"val_acc\": %.6f}\n", val_loss, val_acc > result
}
