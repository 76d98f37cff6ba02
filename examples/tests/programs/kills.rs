//! Programs that are killed at random moments, again and again, end with the files of a run that
//! nothing disturbed.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fhe_examples::{file, results};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use serde_json::{Value, json};

use crate::program::{command, run};
use crate::run::{STAGES, empty, made};

/// Kills of each program in a row, in each run.
const IN_A_ROW: [usize; 3] = [2, 2, 1];

/// Kills a program after some time, and returns whether it had not ended before.
fn killed(folder: &Path, (name, arguments): (&str, &[&str]), after: Duration) -> bool {
    let mut program = command(name, folder);
    program.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    let mut program = program.spawn().unwrap();
    sleep(after);
    program.kill().unwrap();
    let status = program.wait().unwrap();
    assert!(status.signal() == Some(9) || status.success(), "{name}: {status}");
    !status.success()
}

/// Takes away what a killed program was writing, and returns how many files that are: they have
/// names of their own, and nothing reads them.
fn leftovers(folder: &Path) -> usize {
    let mut found = 0;
    for place in ["client", "server", "server/snapshots"] {
        for entry in fs::read_dir(folder.join(place)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with('.') && name.ends_with(".part") {
                fs::remove_file(entry.path()).unwrap();
                found += 1;
            }
        }
    }
    found
}

/// Kills programs so many times, and compares each run's files with those of one that was not
/// disturbed.
fn kill(times: usize, seed: u64) -> Value {
    let (whole, mut random) = (empty(), ChaCha20Rng::seed_from_u64(seed));
    let took = STAGES.map(|(name, arguments)| {
        let start = Instant::now();
        run(name, whole.path(), arguments).succeeds();
        start.elapsed()
    });
    let expected = made(whole.path());
    let (mut kills, mut runs, mut left) = ([0; 3], 0, 0);
    while kills.iter().sum::<usize>() < times {
        let folder = empty();
        for (i, stage) in STAGES.into_iter().enumerate() {
            for _ in 0..IN_A_ROW[i].min(times - kills.iter().sum::<usize>()) {
                let after = took[i].mul_f64(random.random_range(0.0..1.0));
                kills[i] += usize::from(killed(folder.path(), stage, after));
            }
            run(stage.0, folder.path(), stage.1).succeeds();
        }
        left += leftovers(folder.path());
        assert_eq!(made(folder.path()), expected, "run {runs} of seed {seed}, kills: {kills:?}");
        runs += 1;
        assert!(runs < 4 * times, "the programs end before they are killed");
    }
    let programs = STAGES.map(|stage| [&[stage.0], stage.1].concat().join(" "));
    let of_programs: Vec<Value> = (0..STAGES.len())
        .map(|i| {
            let seconds = took[i].as_secs_f64();
            json!({ "program": programs[i], "seconds_undisturbed": seconds, "kills": kills[i] })
        })
        .collect();
    json!({
        "kills": times,
        "runs": runs,
        "seed": seed,
        "same": true,
        "exported_model": expected["client/model.safetensors"].split_whitespace().last(),
        "temporary_files_left": left,
        "programs": of_programs,
    })
}

#[test]
fn a_run_that_is_killed_five_times_is_the_same() {
    kill(5, 1);
}

#[test]
#[ignore = "takes some minutes, and writes docs/results/kills.json"]
fn runs_that_are_killed_fifty_times_are_the_same() {
    let start = Instant::now();
    let found = kill(50, 2);
    let here = results::here();
    let mut all = json!({
        "what": "programs are killed (SIGKILL) at random moments and called again until they end; \
                 then all files are those of an undisturbed run: a model's weights, and every \
                 byte of the others but the report of times",
        "command": here.command,
        "commit": here.commit,
        "machine": here.machine,
        "wall_seconds": start.elapsed().as_secs_f64(),
    });
    all.as_object_mut().unwrap().extend(found.as_object().unwrap().clone());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/results");
    file::write_json(&folder.join("kills.json"), &all).unwrap();
}
