#!/bin/sh
# Programs that do nothing, so many a second: rankpool exec beside xargs, GNU parallel and HyperQueue; and lines that a
# program answers at once, by rankpool pipe. All in turns, several rounds, two at a time; only ratios of one run count.
#
#   benches/programs.sh [PROGRAMS [ROUNDS]]
#
# GNU parallel is measured where it is installed, HyperQueue where Python can install it.
set -eu
cd "$(dirname "$0")/.."
programs=${1:-3000}
rounds=${2:-5}
figures=$(mktemp)
folder=$(mktemp -d)
trap 'rm -rf "$figures" "$folder"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

cargo build --release
root=$PWD
rankpool=$root/target/release/rankpool
exec="$rankpool exec --progress none --stdout none --stderr none"
peers=$root/target/peers
if ! "$peers/bin/python" -c 'import hyperqueue' 2>/dev/null; then
    { python3 -m venv "$peers" && "$peers/bin/pip" install -q --disable-pip-version-check hyperqueue; } >&2 ||
        echo "HyperQueue is left out" >&2
fi
cat >"$folder/answer.c" <<'END'
#include <stdio.h>
int main(void) {
    static char line[1 << 16];
    while (fgets(line, sizeof line, stdin)) {
        fputs("{\"result\": 1}\n", stdout);
        fflush(stdout);
    }
    return 0;
}
END
cc -O2 -o "$folder/answer" "$folder/answer.c"
seq "$programs" >"$folder/inputs"
seq $((100 * programs)) >"$folder/lines"

measure() { # measure NAME HOW-MANY COMMAND...: takes down how many a second
    name=$1 count=$2
    shift 2
    began=$(date +%s%N)
    "$@" >/dev/null 2>&1
    ended=$(date +%s%N)
    echo "$name $((count * 1000000000 / (ended - began)))" >>"$figures"
}

round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    measure "xargs_-P2" "$programs" sh -c "xargs -P2 -n1 /bin/true <$folder/inputs"
    # shellcheck disable=SC2086  # words of a command
    {
        measure "exec_threads" "$programs" $exec --mode threads -w 2 -a "$folder/inputs" -- /bin/true
        measure "exec_processes" "$programs" $exec --mode processes -w 2 -a "$folder/inputs" -- /bin/true
        measure "exec_comm" "$programs" mpiexec --oversubscribe -n 3 $exec -a "$folder/inputs" -- /bin/true
        measure "exec_with_outputs_kept" "$programs" $rankpool exec --progress none --mode processes -w 2 -a "$folder/inputs" -- /bin/true
        measure "exec_into_a_file" "$programs" $rankpool exec --progress none --mode processes -w 2 -a "$folder/inputs" --output "$folder/out.h5" --force -- /bin/true
        measure "pipe_lines" $((100 * programs)) $rankpool pipe --progress none --mode processes -w 2 -a "$folder/lines" -- "$folder/answer"
    }
    if command -v parallel >/dev/null; then
        measure "GNU_parallel_-j2" "$programs" sh -c "parallel -j2 /bin/true <$folder/inputs"
    fi
    if "$peers/bin/python" -c 'import hyperqueue' 2>/dev/null; then
        # It leaves files of its programs' outputs where it runs.
        (cd "$folder" && "$peers/bin/python" "$root/benches/hq.py" "$programs" 2>/dev/null) | tail -n1 | sed 's/^/HyperQueue /' >>"$figures"
    fi
done

echo "$programs programs a round, $rounds rounds, load $(cut -d' ' -f1 /proc/loadavg): a second, least, median, most"
cut -d' ' -f1 "$figures" | sort -u | while read -r name; do
    grep "^$name " "$figures" | cut -d' ' -f2 | sort -n | awk -v name="$name" '
        { a[NR] = $1 } END { printf "%-24s %9d %9d %9d\n", name, a[1], a[int((NR + 1) / 2)], a[NR] }'
done
