# Reads the assembly of exact.c or fast.c for x86-64 and says whether each row of kernels was compiled for its kind of
# processor: no wide register outside its row, which other processors could not run, and wide ones where Adam and the
# squares work. A compiler that does not know a part of a row's attribute may drop all of it, with a warning at most.

/^[A-Za-z_][A-Za-z_0-9.]*:/ { name = $1 }

/%[yz]mm/ {
    if (name !~ /_avx(2|512)/ || (/%zmm/ && name !~ /_avx512/)) {
        print FILENAME ": " name " has instructions of another row: " $0
        wrong = 1
        exit
    }
    if (name ~ /^(adam|square)/) {
        wide[name ~ /_avx512/ ? "avx512" : "avx2"] += name ~ /_avx512/ ? /%zmm/ : /%ymm/
    }
}

END {
    for (n = split("avx2 avx512", rows, " "); n > 0 && !wrong; n--) {
        if (wide[rows[n]] < 50) {
            print FILENAME ": Adam in the row " rows[n] " has only " wide[rows[n]] + 0 " instructions on its vectors"
            wrong = 1
        }
    }
    exit wrong
}
