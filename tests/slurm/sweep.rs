//! A sweep of a program over a grid, of which a part fails, is killed, or takes too long, and which does not fit its time.

use std::{collections::BTreeMap, process::Command};

use super::{Place, Script, cluster::Cluster, support};

/// Prints what it computes as JSON; every hundredth point fails, every 250th kills itself, and one never ends.
const MODEL: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    double x = argc > 1 ? atof(argv[1]) : 0;
    int point = (int)(x * 100 + 0.5);
    usleep(20000 + 1000 * (point % 20));
    if (point == 500) pause();
    if (point % 250 == 11) raise(SIGKILL);
    if (point % 100 == 7) { fprintf(stderr, "no convergence at %s\n", argv[1]); return 3; }
    printf("computed %d\n{\"energy\": %.6f, \"steps\": %d}\n", point, x * x - 1, point % 17);
    return 0;
}
"#;

pub fn sweep(cluster: &Cluster, script: &'static Script) {
    let place = Place::new(cluster, script);
    std::fs::write(place.path("model.c"), MODEL).unwrap();
    let built =
        Command::new("cc").args(["-O1", "-o", "model", "model.c"]).current_dir(place.folder.path()).status();
    assert!(built.unwrap().success());
    let command = "rankpool exec --grid x=0:9.99:0.01 --parse json --task-timeout 2s --kill-after 1s";
    let program = "-- ./model {x}";
    let job = place.submit(&format!("{command} --output out.h5 --walltime 8s --grace 3s {program}"), &[]);
    let told = job.end();
    // Tasks have failed, which is no reason to run the job again.
    assert!(told[0].restarts >= 1 && told[0].code == 1, "{told:?}\n{}", place.logs());

    let mut serial = Command::new(super::PROGRAM);
    serial.args(command.split(' ').skip(1)).args([
        "--mode",
        "threads",
        "--workers",
        "16",
        "--output",
        "serial.h5",
    ]);
    support::start(serial.args(program.split(' ')).current_dir(place.folder.path())).end().expect(1);
    for file in ["out", "serial"] {
        let table = place.path(&format!("{file}.csv"));
        place.tool(&["export", &format!("{file}.h5"), "--csv", "--to", table.to_str().unwrap()]);
    }
    let tables = ["out.csv", "serial.csv"].map(|name| place.path(name).to_str().unwrap().to_string());
    let counted = support::python("compare_sweeps.py", &[&tables[0], &tables[1]]);
    let counted: BTreeMap<String, u64> = serde_json::from_str(&counted).unwrap();
    let expected = [("ok", 985), ("failed", 14), ("timed_out", 1)];
    assert_eq!(counted, expected.map(|(name, count)| (name.to_string(), count)).into());
    let [found, expected] = ["out.h5", "serial.h5"].map(|file| place.show(file));
    assert_eq!(found["results_digest"], expected["results_digest"]);
}
