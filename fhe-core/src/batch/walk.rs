//! A batch stage by stage: what benchmarks time.

use super::Batch;
use super::interpolation::{Interpolation, Powers};
use super::key_switch::Ciphertext;
use super::linear::Hoisted;
use super::read::Read;

/// A batch of zeros, and what each stage left.
pub(crate) struct Walk<'a> {
    batch: &'a Batch,
    read: Read,
    table: Interpolation,
    halves: Option<[Ciphertext; 2]>,
    zeta: Option<[Ciphertext; 2]>,
    powers: Option<[Powers; 2]>,
    slots: Option<Ciphertext>,
    hoisted: Option<Hoisted>,
    rows: Vec<u64>,
}

/// Runs the stage before if it left nothing yet, and returns what it left.
macro_rules! before {
    ($walk:ident.$field:ident, $stage:ident) => {{
        if $walk.$field.is_none() {
            $walk.$stage();
        }
        let Some(left) = $walk.$field.as_ref() else { return };
        left
    }};
}

impl<'a> Walk<'a> {
    pub(crate) fn new(batch: &'a Batch) -> Self {
        let read = batch.read(&[], true);
        let table = Interpolation::new(&vec![0.0; batch.evaluator.plan.t]);
        let (halves, zeta, powers, slots, hoisted) = (None, None, None, None, None);
        Self { batch, read, table, halves, zeta, powers, slots, hoisted, rows: Vec::new() }
    }

    pub(crate) fn integers(&mut self) {
        self.halves = Some(self.batch.evaluator.integers(&self.read));
    }

    pub(crate) fn exponential(&mut self) {
        let halves = before!(self.halves, integers);
        self.zeta = Some(halves.each_ref().map(|half| self.batch.evaluator.zeta(half)));
    }

    pub(crate) fn powers(&mut self) {
        let zeta = before!(self.zeta, exponential);
        let ring = &self.batch.evaluator.plan.ring;
        let copies = zeta.each_ref().map(|zeta| zeta.copy(ring));
        self.powers = Some(copies.map(|zeta| self.batch.evaluator.powers(zeta)));
    }

    pub(crate) fn table(&mut self) {
        let powers = before!(self.powers, powers);
        let [re, im] = powers.each_ref().map(|p| self.batch.evaluator.sum(p, &self.table));
        self.slots = Some(self.batch.evaluator.joined([&re, &im]));
    }

    pub(crate) fn coefficients(&mut self) {
        let slots = before!(self.slots, table);
        self.hoisted = Some(self.batch.evaluator.rows(slots));
    }

    pub(crate) fn rows(&mut self) {
        let hoisted = before!(self.hoisted, coefficients);
        let parts = self.batch.evaluator.mix(hoisted, 0);
        let ring = &self.batch.evaluator.plan.ring;
        self.rows = self.batch.down.apply(ring, &self.batch.exact, &parts);
    }

    pub(crate) fn selectors(&mut self) {
        if self.rows.is_empty() {
            self.rows();
        }
        drop(self.batch.times_key(&self.rows));
    }
}
