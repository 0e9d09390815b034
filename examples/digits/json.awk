# JSON to lines of `path<TAB>value`: {"a": [{"b": 1}]} becomes `a.0.b<TAB>1`.
#
# In: one JSON text. Out: its numbers, texts, booleans and nulls with their paths, in order. Ends with 1 where it is no JSON.

function fail(words) { printf "json: %s at character %d\n", words, at > "/dev/stderr"; failed = 1; exit 1 }
function skip() { while (substr(text, at, 1) ~ /[ \t\r\n]/ && at <= size) at++ }
function peek() { skip(); return substr(text, at, 1) }
function expect(c) { if (peek() != c) fail("expected " c); at++ }
function join_path(path, key) { return path == "" ? key : path "." key }

function string(    c, out) {
    expect("\"")
    while ((c = substr(text, at++, 1)) != "\"") {
        if (at > size + 1) fail("a text without end")
        if (c == "\\") {
            c = substr(text, at++, 1)
            if (c == "u") { out = out code(substr(text, at, 4)); at += 4; continue }
            # Line breaks and tabs would tear the lines that come out.
            if (index("nrtbf", c)) c = " "
        }
        out = out c
    }
    return out
}

# The printable ASCII character of four hex digits; others stay written out.
function code(hex,    i, n) {
    for (i = 1; i <= 4; i++) n = n * 16 + index("0123456789abcdef", tolower(substr(hex, i, 1))) - 1
    return n >= 32 && n < 127 ? sprintf("%c", n) : "\\u" hex
}

function value(path,    c, n, key) {
    c = peek()
    if (c == "{" || c == "[") {
        at++
        if (peek() == (c == "{" ? "}" : "]")) { at++; return }
        do {
            key = n++
            if (c == "{") { key = (peek() == "\"") ? string() : fail("expected a key"); expect(":") }
            value(join_path(path, key))
        } while (peek() == "," && at++)
        expect(c == "{" ? "}" : "]")
        return
    }
    if (c == "\"") { printf "%s\t%s\n", path, string(); return }
    if (!match(substr(text, at, 64), /^[-+.0-9a-zA-Z]+/)) fail("expected a value")
    printf "%s\t%s\n", path, substr(text, at, RLENGTH)
    at += RLENGTH
}

{ text = text $0 "\n" }
END {
    if (failed) exit 1
    size = length(text); at = 1
    value("")
    if (peek() != "") fail("something after the end")
}
