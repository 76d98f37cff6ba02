//! The operations of `train_bnn`, which lie in that program: its own tests would take the program's place in `cargo test`.

#[path = "../train_bnn/ops/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the program uses what the tests do not")]
mod ops;
