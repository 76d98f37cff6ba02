use std::path::PathBuf;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in a training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of the arithmetic or of a file.
    #[error(transparent)]
    Core(#[from] fhe_core::Error),
    /// An error of a network.
    #[error(transparent)]
    Network(#[from] fhe_nn::Error),
    /// A recipe that makes no sense.
    #[error("recipe: {field} is {got}, {rule}")]
    Recipe {
        /// The field at fault.
        field: &'static str,
        /// Its value.
        got: String,
        /// What was expected.
        rule: &'static str,
    },
    /// A text that says something else.
    #[error("no {what}: {problem}")]
    Text {
        /// What it should be.
        what: &'static str,
        /// What the reader says, with the line and the field.
        problem: String,
    },
    /// Samples or labels that do not fit the recipe.
    #[error("{op}: {what} is {got}, expected {expected}")]
    Data {
        /// The operation that refused.
        op: &'static str,
        /// What does not fit.
        what: &'static str,
        /// What was found; never a sample's content.
        got: usize,
        /// What would fit.
        expected: String,
    },
    /// A label that is no class.
    #[error("{op}: the label of sample {index} is no class: expected one below {classes}")]
    Label {
        /// The operation that refused.
        op: &'static str,
        /// The sample.
        index: usize,
        /// Number of classes.
        classes: usize,
    },
    /// An error ended a step halfway, and its weights are of no use.
    #[error("step {step} was ended by an error: load the model again to go on")]
    Lost {
        /// The step.
        step: usize,
    },
    /// A checkpoint belongs to another training.
    #[error(
        "{}: the checkpoint was made with {field} {got}, this run has {expected}",
        path.display()
    )]
    Resume {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// What the checkpoint says.
        got: String,
        /// What this run has.
        expected: String,
    },
    /// Ranks that do not train the same model.
    #[error("rank {rank} has another {what} than the others: expected the same files everywhere")]
    Ranks {
        /// What differs.
        what: &'static str,
        /// The rank that says so.
        rank: usize,
    },
    /// The message passing interface.
    #[error("MPI: {problem}")]
    Mpi {
        /// What went wrong.
        problem: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_strings() {
        let (op, path) = ("encrypt", || PathBuf::from("run/model.ckpt"));
        let (got, expected) = ("2".to_owned(), "3".to_owned());
        let cases = [
            (
                Error::Core(fhe_core::Error::Index { op, index: 5, len: 4 }),
                "encrypt: index 5 is outside a list of 4",
            ),
            (
                Error::Network(fhe_nn::Error::RepeatedName { layer: "a".into() }),
                "layer a: its name is that of an earlier layer",
            ),
            (
                Error::Recipe { field: "passes", got: "0".into(), rule: "expected 1 to 1000" },
                "recipe: passes is 0, expected 1 to 1000",
            ),
            (
                Error::Text { what: "recipe", problem: "line 3: no number".into() },
                "no recipe: line 3: no number",
            ),
            (
                Error::Data { op, what: "the number of labels", got: 3, expected: "4".into() },
                "encrypt: the number of labels is 3, expected 4",
            ),
            (
                Error::Label { op, index: 7, classes: 10 },
                "encrypt: the label of sample 7 is no class: expected one below 10",
            ),
            (
                Error::Lost { step: 5 },
                "step 5 was ended by an error: load the model again to go on",
            ),
            (
                Error::Resume { path: path(), field: "steps", got, expected },
                "run/model.ckpt: the checkpoint was made with steps 2, this run has 3",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }
}
