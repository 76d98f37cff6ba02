//! The programs as a user runs them: on tiny runs at the real parameters, interrupted, on damaged
//! files, on a full disk and with absurd options.
//!
//! One executable, so that all tests share one finished run.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod backbone;
mod batch_lookup;
mod bnn;
mod common;
mod damage;
mod ends;
mod full_disk;
mod imagenet;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod injection;
mod kills;
mod many_classes;
mod options;
mod own_data;
mod own_data_refused;
mod program;
mod ranks;
mod resume;
mod run;
mod secrecy;
mod sides;
mod stopped;
