#!/usr/bin/env bash
# Runs the suites whose names are on standard input, one a line, in their order and two at a time: a suite waits most
# of its time, for processes that end and for limits. Each prints when it ends.
#
#     tests/suites.sh cargo|pytest LOGS
#
# Tests that failed run once more when nothing runs beside them. What passes then is named as flaky, what does not has
# failed and is printed again: a log is read from its end.
set -uo pipefail

mkdir -p "$2"
runner=$1 logs=$(cd "$2" && pwd)
# So many failures are none of a busy machine, and are not tried again.
most=5

# run SUITE [ARGUMENT...]
run() {
    case $runner in
        cargo) cargo test --no-fail-fast --test "$1" -- "${@:2}" ;;
        pytest) pytest --quiet --durations=5 -o cache_dir="$logs/cache-$1" "${@:2}" "tests/test_$1.py" ;;
    esac
}

# shellcheck disable=SC2317 # xargs calls it.
first() {
    run "$1" >"$logs/$1" 2>&1 || touch "$logs/$1.failed"
    cat "$logs/$1"
}

# The names of the tests that failed: those below a log's last "failures:", or behind pytest's FAILED.
failures() {
    awk '/^failures:$/ { names = ""; next } /^    [^ ]/ { names = names substr($0, 5) "\n" }
        /^test result: FAILED/ { printf "%s", names; exit } /^FAILED / { print $2 }' "$logs/$1"
}

# The failed tests of a suite, one after the other. False when one fails, and when it is not known which they are.
again() {
    case $runner in
        cargo)
            mapfile -t names < <(failures "$1")
            ((${#names[@]} > 0 && ${#names[@]} <= most)) || { tail -n 100 "$logs/$1"; return 1; }
            for name in "${names[@]}"; do
                run "$1" --exact "$name" | tee "$logs/again"
                # A name that no test has would pass.
                grep -q "^test result: ok. 1 passed" "$logs/again" || return 1
            done
            ;;
        pytest) run "$1" --last-failed --maxfail="$most" ;;
    esac
}

# What failed in an earlier run is not what failed in this one.
rm -rf "$logs"/*.failed "$logs"/cache-*
export -f run first
export runner logs
code=0 endings=()
# A suite whose shell was killed has left no note of it.
xargs -P 2 -I% bash -c 'first %' || code=1

for failed in "$logs"/*.failed; do
    [ -e "$failed" ] || continue
    suite=$(basename "$failed" .failed)
    echo "=== once more, alone: what failed of $suite"
    if again "$suite"; then
        endings+=("=== flaky: $suite: $(failures "$suite" | paste -sd' ')")
    else
        endings+=("=== failed: $suite: $(failures "$suite" | paste -sd' ')") code=1
    fi
done
((${#endings[@]} == 0)) || printf '%s\n' "${endings[@]}"
exit $code
