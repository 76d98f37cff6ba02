//! Training by several processes.

use crate::{program, run};

/// Real processes and real keys: two ranks, and two of which one is killed and three go on.
#[cfg(feature = "mpi")]
#[test]
fn several_processes_train_the_model_of_one() {
    let folder = run::empty();
    let small = ["--count", "96", "--batch", "48", "--dictionary", "32", "--reproducible-key"];
    program::run("setup", folder.path(), &small).succeeds();
    let said = program::run("ranks", folder.path(), &["--ranks", "1,2"]).succeeds();
    assert!(said.contains("all models are the same, bit for bit"), "{said}");
}

#[cfg(not(feature = "mpi"))]
#[test]
fn a_program_without_mpi_says_so_where_mpirun_starts_it() {
    let folder = run::untrained();
    let mut command = program::command("train", folder.path());
    let ended = program::outcome(command.env("OMPI_COMM_WORLD_SIZE", "2"));
    ended.fails(&["built without the feature `mpi`"]);
}

#[test]
fn a_price_for_several_processes_names_their_time_and_what_they_send() {
    let folder = run::untrained();
    let said = program::run("train", folder.path(), &["--price", "--ranks", "2"]).succeeds();
    // Sixteen samples of ten classes are three units; ten rows are added up.
    assert!(said.contains("2 processes with"), "{said}");
    assert!(said.contains("3 units of work 1 times, and each process sends 0.3 MB"), "{said}");
}
