//! Notes the commit that the programs are built from. They run no other program to find it, in
//! whatever folder they are started.

use std::process::Command;

fn main() {
    let changed =
        ["status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)docs/results"];
    let commit = match (git(&["rev-parse", "HEAD"]), git(&changed)) {
        (Some(commit), Some(changed)) if changed.is_empty() => commit,
        (Some(commit), _) => commit + "-dirty",
        (None, _) => "unknown".into(),
    };
    println!("cargo::rustc-env=FHE_COMMIT={commit}");
    // Every commit and every change of a source asks again.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    for path in ["Cargo.lock", "Cargo.toml", "fhe-core", "fhe-data", "fhe-nn", "fhe-train", "fuzz"]
    {
        println!("cargo::rerun-if-changed=../{path}");
    }
    println!("cargo::rerun-if-changed=.");
}

/// Returns what git prints, without the space around it.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = || String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then(said)
}
