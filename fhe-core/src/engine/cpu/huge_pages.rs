//! Large lists in large pages.
//!
//! A key of 200 MB, or a list of as many values, lies in 50,000 pages of 4 KB, more than a processor
//! remembers the addresses of, and every batch of lookups reads all of it. On Linux we ask for pages
//! of 2 MB; elsewhere nothing changes but the time.

use std::ops::{Deref, DerefMut};

use aligned_vec::AVec;
use bytemuck::Pod;
use memmap2::MmapMut;

/// Bytes from which on a list has pages of its own.
const LARGE: usize = 1 << 18;

/// A list of fixed length, zeros at first. It starts at a line of the cache, if it was not made of
/// another one.
pub(crate) struct Pages<T>(Memory<T>);

enum Memory<T> {
    /// So many bytes of it.
    Mapped(MmapMut, usize),
    Heap(AVec<u8>),
    List(Vec<T>),
}

impl<T: Pod> Pages<T> {
    pub(crate) fn zeros(len: usize) -> Self {
        let bytes = len * size_of::<T>();
        let map = || MmapMut::map_anon(bytes).ok();
        Self(match (bytes >= LARGE).then(map).flatten() {
            Some(map) => {
                // A refusal costs time only.
                #[cfg(target_os = "linux")]
                let _ = map.advise(memmap2::Advice::HugePage);
                Memory::Mapped(map, bytes)
            }
            None => Memory::Heap(AVec::from_iter(
                aligned_vec::CACHELINE_ALIGN,
                std::iter::repeat_n(0, bytes),
            )),
        })
    }
}

impl<T> From<Vec<T>> for Pages<T> {
    fn from(list: Vec<T>) -> Self {
        Self(Memory::List(list))
    }
}

impl<T: Pod> Clone for Pages<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Pod + PartialEq> PartialEq for Pages<T> {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl<T: Pod + Eq> Eq for Pages<T> {}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self[..].fmt(f)
    }
}

impl<T: Pod> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Memory::Mapped(map, bytes) => bytemuck::cast_slice(&map[..*bytes]),
            Memory::Heap(bytes) => bytemuck::cast_slice(bytes),
            Memory::List(list) => list,
        }
    }
}

impl<T: Pod> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Memory::Mapped(map, bytes) => bytemuck::cast_slice_mut(&mut map[..*bytes]),
            Memory::Heap(bytes) => bytemuck::cast_slice_mut(bytes),
            Memory::List(list) => list,
        }
    }
}
