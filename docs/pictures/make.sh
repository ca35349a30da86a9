#!/bin/bash
# Draws the pictures of README.md anew, from real runs of target/release/rankpool, or of the program that RANKPOOL names:
#
#   terminal.svg   a recording of what a terminal shows
#   timeline.svg   which task ran when and where, by `rankpool report`
#
# docs/performance.svg is made by `make bench`, docs/simulated.svg by the command in docs/performance.md.
set -euo pipefail

pictures=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$pictures")")
program=$(realpath "${RANKPOOL:-$root/target/release/rankpool}")
python=$root/target/pictures
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

if [ ! -x "$python/bin/python" ]; then
    python3 -m venv "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check rich==15.0.0
fi
ln -s "$program" "$folder/rankpool"
export PATH=$folder:$PATH
cd "$folder"

# A command as it is typed, and what it prints.
typed() {
    printf '$ %s\n' "$1"
    bash -c "$1" 2>&1
    echo
}

# The second worker dies in the middle of its work.
kill_a_worker() {
    until grep -q run_started sleep.jsonl 2>/dev/null; do sleep 0.1; done
    sleep 3
    kill -9 "$(grep run_started sleep.jsonl | grep -o '"pid":[0-9]*' | sed -n 3p | cut -d: -f2)"
}

kill_a_worker &
{
    typed 'rankpool run sleep --tasks 400 --spread lognormal --mode processes -w 8 -o sleep.h5 --events sleep.jsonl'
    typed 'rankpool show sleep.h5 | tail -n 6'
    typed 'rankpool export sleep.h5 --csv | head -n 4'
} >typed.txt
wait
"$python/bin/python" "$pictures/terminal.py" "$pictures/terminal.svg" <typed.txt
rankpool report sleep.h5 --svg "$pictures/timeline.svg" --force
