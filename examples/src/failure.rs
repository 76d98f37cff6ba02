//! How a program ends: silently, or with one line on stderr and exit code 1.

use std::process::ExitCode;

/// Turns the result of a program into its exit code, and says what failed.
#[must_use]
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", line(&error));
            ExitCode::FAILURE
        }
    }
}

/// Joins an error and its causes by colons. Many errors name their cause already; once is enough.
fn line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_named_once_and_on_one_line() {
        let error = anyhow::anyhow!("no\nspace").context("writing a: no\nspace").context("saving");
        assert_eq!(line(&error), "saving: writing a: no space");
    }
}
