//! ImageNet in all its layouts, in miniature.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod archives;
mod four_colours;
mod pictures;
mod preparation;
mod set;
mod train;
mod validation;
