//! Memory that is used again.
//!
//! A polynomial of 35 limbs has 18 MB. Getting so much from the operating system, and giving it
//! back, takes as long as the arithmetic on it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use crate::engine::cpu::huge_pages::Pages;

/// Limbs by which sizes of buffers differ.
const STEP: usize = 4;

/// Buffers that wait for their next use, by size.
#[derive(Clone)]
pub(super) struct Pool {
    limb: usize,
    free: Arc<Mutex<Vec<Vec<Pages<u64>>>>>,
}

/// A list of numbers; its memory goes back to the pool.
pub(super) struct Buffer {
    pages: Option<Pages<u64>>,
    len: usize,
    class: usize,
    pool: Pool,
}

impl Pool {
    pub(super) fn new(limb: usize) -> Self {
        Self { limb, free: Arc::default() }
    }

    /// Limbs of the buffer that so many limbs get.
    pub(super) fn room(limbs: usize) -> usize {
        limbs.next_multiple_of(STEP)
    }

    /// Limbs of all buffers that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let free = self.free.lock().unwrap();
        free.iter().flatten().map(|pages| pages.len() / self.limb).sum()
    }

    /// Returns a buffer of so many limbs, with any numbers in it.
    pub(super) fn take(&self, limbs: usize) -> Buffer {
        let class = limbs.div_ceil(STEP);
        let waiting = match self.free.lock() {
            Ok(mut free) => free.get_mut(class).and_then(Vec::pop),
            Err(_) => None,
        };
        let pages = waiting.unwrap_or_else(|| Pages::zeros(class * STEP * self.limb));
        Buffer { pages: Some(pages), len: limbs * self.limb, class, pool: self.clone() }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(pages) = self.pages.take() else { return };
        if let Ok(mut free) = self.pool.free.lock() {
            if free.len() <= self.class {
                free.resize_with(self.class + 1, Vec::new);
            }
            free[self.class].push(pages);
        }
    }
}

impl Deref for Buffer {
    type Target = [u64];
    fn deref(&self) -> &[u64] {
        self.pages.as_ref().map_or(&[], |pages| &pages[..self.len])
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u64] {
        self.pages.as_mut().map_or(&mut [], |pages| &mut pages[..self.len])
    }
}
