"""Runs of the job sleep beside what `rankpool simulate` says of them: `simulated.py PROGRAM`.

A sleep takes longer than it was asked to, by what the machine has else to do. So the simulator is given the times that
the tasks took: those asked for, longer by the ratio of the time that workers were busy to the time asked for.
"""

import json
import subprocess
import sys

# Workers, tasks, mean time in ms, spread, chunk.
SETTINGS = [
    (2, 1000, 10, "constant", "auto"),
    (2, 500, 20, "exponential", "auto"),
    (3, 1000, 10, "lognormal", "auto"),
    (3, 500, 20, "exponential", "static"),
    (4, 1500, 10, "constant", "1"),
    (4, 1500, 10, "exponential", "guided"),
    (5, 2000, 10, "lognormal", "factoring"),
    (6, 500, 50, "exponential", "1"),
]
# What messages cost between processes over socket pairs.
COSTS = ["--latency", "50us", "--overhead", "5us", "--worker-overhead", "10us"]
PROGRAM = sys.argv[1]


def told(*arguments):
    command = [PROGRAM, *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


print("| workers | tasks | time | chunk | a sleep takes | measured, s | simulated, s | difference |")
print("|---|---|---|---|---|---|---|---|")
for workers, tasks, mean, spread, chunk in SETTINGS:
    run = ["run", "sleep", "--tasks", tasks, "--duration", f"{mean}ms", "--spread", spread, "--seed", 1]
    reports = [told(*run, "--chunk", chunk, "--mode", "processes", "--workers", workers) for _ in range(3)]
    report = sorted(reports, key=lambda report: report["wall_s"])[1]
    wall = report["wall_s"]
    longer = report["utilisation"] * workers * wall / report["summary"]["slept_s"]
    sigma = ",1" if spread == "lognormal" else ""
    setting = ["--workers", workers, "--tasks", tasks, "--chunk", chunk, "--seed", 1, *COSTS]
    simulated = told("simulate", *setting, "--time", f"{spread}:{mean * longer:.6f}ms{sigma}")["makespan_s"]
    difference = 100 * (simulated / wall - 1)
    print(
        f"| {workers} | {tasks} | {spread}:{mean}ms{sigma} | {chunk} | {100 * (longer - 1):+.1f} % "
        f"| {wall:.3f} | {simulated:.3f} | {difference:+.1f} % |",
        flush=True,
    )
