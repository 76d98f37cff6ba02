//! How a program ends: silently, or with one line on standard error.

use std::process::ExitCode;

use crate::output::{self, OutputError};
use crate::signals::{self, Stopped};

/// Status of a program whose standard output nobody reads any more: 128 and the number of SIGPIPE.
const CLOSED: u8 = 141;

/// Turns the result of a program into its exit code, and says what failed.
///
/// A program that was stopped, or whose output was closed, has said all that there is to say.
#[must_use]
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if let Some(Stopped(signal)) = error.downcast_ref() {
        return ExitCode::from(signals::status(*signal));
    }
    if let Some(OutputError::Closed) = error.downcast_ref() {
        return ExitCode::from(CLOSED);
    }
    say(&error);
    ExitCode::FAILURE
}

/// Says why a program ends.
pub(crate) fn say(error: &anyhow::Error) {
    output::error(&line(error));
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
