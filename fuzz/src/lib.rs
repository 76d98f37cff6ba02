//! Every reader of files and messages, on real files that were changed at random.
//!
//! A [`File`] is a real file and its [`Form`], which says how it is taken apart, changed inside and
//! put together again, with its checksums. So changes come behind the checks that would refuse all
//! of them. [`Fuzz`] gives so changed files to a reader. It fails on a panic, and on what takes
//! more time or memory than a [`Limits`] allows.

mod case;
mod edit;
mod form;
mod run;
mod tree;

pub use form::{File, Form};
pub use run::{Fuzz, Limits};

/// Counts the memory that readers take.
#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
