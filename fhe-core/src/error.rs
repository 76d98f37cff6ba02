use std::path::PathBuf;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong: always the world or the caller's data, never a hidden value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two operands, or an operand and a list of indices, do not fit.
    #[error("{op}: got {got} {what}, expected {expected}")]
    Shape {
        /// The operation that refused.
        op: &'static str,
        /// What was counted.
        what: &'static str,
        /// The count found.
        got: usize,
        /// The count that would fit.
        expected: usize,
    },
    /// An index lies outside a list.
    #[error("{op}: index {index} is outside a list of {len}")]
    Index {
        /// The operation that refused.
        op: &'static str,
        /// The offending index.
        index: usize,
        /// The length of the list.
        len: usize,
    },
    /// A number is larger than what it is for can hold.
    #[error("{op}: number {index} is {got}, at most {bound} in size is possible")]
    Magnitude {
        /// The operation that refused.
        op: &'static str,
        /// Index of the number in its list.
        index: usize,
        /// The number.
        got: i64,
        /// The largest size that is possible.
        bound: i64,
    },
    /// The operating system gave no random bytes.
    #[error("drawing random bytes: {0}")]
    Random(#[source] std::io::Error),
    /// Two values are to become the same coefficient.
    #[error("{op}: coefficient {coefficient} is filled twice")]
    Repeated {
        /// The operation that refused.
        op: &'static str,
        /// The coefficient.
        coefficient: usize,
    },
    /// A parameter set cannot pack lists.
    #[error("{op}: parameter set {name} has no gadgets for lists")]
    NoLists {
        /// The operation that refused.
        op: &'static str,
        /// The set.
        name: String,
    },
    /// A parameter set breaks one of its rules.
    #[error("parameter set {name}: {field} is {got}, {rule}")]
    Params {
        /// The set.
        name: String,
        /// The field at fault.
        field: &'static str,
        /// Its value.
        got: u64,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A name that no parameter set has.
    #[error("no parameter set is called {name:?}; known: {known}")]
    UnknownParams {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The system refused to read or write a file.
    #[error("{op} {}: {source}", path.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another process works in the same folder.
    #[error("{}: another process is at work here", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A file is not what its name promises, or was cut or changed.
    #[error("{}: {field}: {problem}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The part of the file.
        field: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file was made under other keys or parameters.
    #[error("{}: {field} is {got}, expected {expected}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The part of the file.
        field: &'static str,
        /// What the file says.
        got: String,
        /// What was needed.
        expected: String,
    },
}

impl Error {
    pub(crate) fn io(
        op: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { op, path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_strings() {
        let (op, path) = ("save", || PathBuf::from("run/a.key"));
        let system = || std::io::Error::other("no space");
        let (got, expected) = ("a".to_owned(), "b".to_owned());
        let cases = [
            (
                Error::Shape { op, what: "values", got: 5, expected: 6 },
                "save: got 5 values, expected 6",
            ),
            (Error::Index { op, index: 5, len: 4 }, "save: index 5 is outside a list of 4"),
            (
                Error::Magnitude { op, index: 5, got: -9, bound: 7 },
                "save: number 5 is -9, at most 7 in size is possible",
            ),
            (Error::Random(system()), "drawing random bytes: no space"),
            (Error::Repeated { op, coefficient: 5 }, "save: coefficient 5 is filled twice"),
            (
                Error::NoLists { op, name: "toy".into() },
                "save: parameter set toy has no gadgets for lists",
            ),
            (
                Error::Params { name: "toy".into(), field: "pack", got: 16, rule: "must be 15" },
                "parameter set toy: pack is 16, must be 15",
            ),
            (
                Error::UnknownParams { name: "toi".into(), known: "toy, secure".into() },
                "no parameter set is called \"toi\"; known: toy, secure",
            ),
            (Error::Io { op, path: path(), source: system() }, "save run/a.key: no space"),
            (Error::Locked { path: path() }, "run/a.key: another process is at work here"),
            (
                Error::Corrupt { path: path(), field: "chunk 1 of 2".into(), problem: "it is cut" },
                "run/a.key: chunk 1 of 2: it is cut",
            ),
            (
                Error::Mismatch { path: path(), field: "key", got, expected },
                "run/a.key: key is a, expected b",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }
}
